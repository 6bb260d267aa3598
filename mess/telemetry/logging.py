"""The relay's log: structured lines on standard output or standard error.

Use `log.error("…", error=exception)` and `exc_info=exception` for expected errors: they appear as one field, `Type:
message`. Use `log.exception("…")` for unexpected ones, which shows the traceback. At level debug, every error shows it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Literal, cast
from weakref import WeakSet

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from mess.telemetry.output import LineLogger
from mess.telemetry.printable import printable, printable_json
from mess.telemetry.redact import compact, fits, redact, redacted, shown

__all__ = ["MAX_FIELD", "Json", "Verbatim", "configure", "get_logger", "redact", "redacted"]

Fields = MutableMapping[str, Any]

MAX_FIELD = 16 * 1024
"""The default limit on the bytes of a field."""


_loggers: WeakSet[Any] = WeakSet()


class Verbatim(str):
    """A field value that is logged as it is: event data is neither redacted nor cut."""

    __slots__ = ()


class Json:
    """Like Verbatim, for a value that already is JSON."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines include `name`. It may be created before `configure` is called, but not used."""
    logger = structlog.get_logger(name)
    _loggers.add(logger)
    return cast(FilteringBoundLogger, logger)


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 - the option's name
    *,
    to: Literal["stdout", "stderr"] = "stdout",
    max_field: int = MAX_FIELD,
) -> None:
    """Log from `level` (debug, info, warning, error) on, in this `format`: console, json, or auto.

    `auto` is console on a terminal and JSON lines elsewhere. Messages that libraries log with the standard library, and
    Python's warnings, appear in the same format from level warning on. Fields are cut after `max_field` bytes.
    """
    stream = getattr(sys, to)
    terminal = stream is not None and stream.isatty()
    if format == "auto":
        format = "console" if terminal else "json"  # noqa: A001
    structlog.configure(
        processors=[
            _named,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Errors(always_traced=level == "debug"),
            _Redaction(max_field),
            _to_json if format == "json" else _console(colors=terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(LineLogger, to=to),
        cache_logger_on_first_use=True,
    )
    for logger in _loggers:
        vars(logger).pop("bind", None)  # what it has kept since its first use
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _FromLibraries)]
    root.addHandler(_FromLibraries())
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # Python would print the exception that ends a thread to standard error.
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    name = None if end.thread is None else end.thread.name
    if end.exc_value is not None and not isinstance(end.exc_value, SystemExit):
        info = (end.exc_type, end.exc_value, end.exc_traceback)
        structlog.get_logger("mess").error("thread ended by an error", thread=name, exc_info=info)


class _FromLibraries(logging.Handler):
    """Forwards the standard library's log records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            info = {"exc_info": record.exc_info} if record.exc_info and record.exc_info[0] else {}
            structlog.get_logger().log(record.levelno, record.getMessage().rstrip(), logger=record.name, **info)
        except Exception:  # a library's faulty log line must not break its caller
            self.handleError(record)


def _named(logger: Any, method: str, fields: Fields) -> Fields:
    if logger.name is not None:
        fields.setdefault("logger", logger.name)
    return fields


class _Errors:
    """Formats exceptions: one field for expected ones, with the traceback if wanted."""

    def __init__(self, always_traced: bool) -> None:
        self._always_traced = always_traced

    def __call__(self, logger: Any, method: str, fields: Fields) -> Fields:
        info = fields.pop("exc_info", None)
        if info is None and not self._always_traced:
            return fields
        # log.exception sets True, and libraries pass the triple; code that passes the exception itself expected it.
        unexpected = not isinstance(info, BaseException)
        if isinstance(info, tuple):
            info = info[1]
        elif info and unexpected:
            info = sys.exc_info()[1]
        error = info or fields.get("error")
        if isinstance(error, BaseException):
            fields.setdefault("error", compact(error))
            if (unexpected and info) or self._always_traced:
                fields["exception"] = "".join(traceback.format_exception(error)).rstrip()
        return fields


_AS_THEY_ARE = frozenset({Json, Verbatim})


class _Redaction:
    """Removes secrets from all fields and limits their length."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, logger: Any, method: str, fields: Fields) -> Fields:
        written: dict[str, Any] = {name: fields.pop(name) for name in ("timestamp", "level")}
        written["event"] = self._clean(fields.pop("event"))
        for name, value in fields.items():
            written[name] = value if value.__class__ in _AS_THEY_ARE else self._clean(value)
        return written

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return shown(value, self._most)
        clean = redacted(value)
        if isinstance(clean, (dict, list)):
            text = json.dumps(clean, ensure_ascii=False)
            return clean if fits(text, self._most) else shown(text, self._most)
        return shown(clean, self._most) if isinstance(clean, str) else clean


def _to_json(logger: Any, method: str, fields: Fields) -> bytes:
    try:
        data = orjson.dumps(fields, default=_fragment)
    except TypeError:
        # orjson cannot encode integers beyond 64 bits or lone surrogates.
        data = json.dumps(fields, default=_value).encode()
    # JSON allows these characters, but a terminal that shows the line would interpret them.
    if data.isascii() and b"\x7f" not in data:
        return data
    return printable_json(data.decode("utf-8", "replace")).encode()


def _fragment(value: Json) -> orjson.Fragment:
    return orjson.Fragment(value.data)


def _value(value: Json) -> Any:
    return json.loads(value.data)


def _console(colors: bool) -> Processor:
    render = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=40, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )

    def to_bytes(logger: Any, method: str, fields: Fields) -> bytes:
        plain = {name: _safe(name, value) for name, value in fields.items()}
        return render(logger, method, plain).encode("utf-8", "backslashreplace")

    return to_bytes


def _safe(name: str, value: Any) -> Any:
    """A field that is safe for a terminal: control characters are escaped, and only tracebacks have several lines."""
    if value.__class__ is Json:
        return _value(value)
    return printable(value, lines=name == "exception") if isinstance(value, str) else value
