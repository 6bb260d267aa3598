"""The log step: writes events to the relay's own log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import orjson
import structlog

from mess.event import Event
from mess.formats import bson_json
from mess.formats.body import Shape
from mess.formats.paths import MISSING, get, parse_path
from mess.formats.template import PathText
from mess.options.values import Size
from mess.steps.base import Context, Reading, StepConfig, Transform
from mess.telemetry.logging import Json, Verbatim


class LogConfig(StepConfig):
    """Writes each event to the relay's log and passes it on unchanged: one structured line per event, as JSON or for
    the console, like everything else that the relay logs.

    Unknown options are ignored with a warning, since existing configs of the Node.js tool contain some.
    """

    name: ClassVar[str] = "log"
    ignores_unknown: ClassVar[bool] = True

    fields: tuple[PathText, ...] | None = None
    """Paths of the body to log, such as `fullDocument.total`. Default: the whole body."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The level to log at."""
    max_bytes: Size = 64 * 1024
    """How many bytes of an event's body are written, as JSON. A longer body is cut and becomes a text that ends with
    the original length. With `fields`, the limit applies to each field."""

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        for index, path in enumerate(self.fields or ()):
            yield Reading(("fields", index), path, "none")

    def body_after(self, body: Shape | None) -> Shape | None:
        """Events pass through unchanged."""
        return body

    def build(self, context: Context) -> LogStep:
        """Make the step."""
        return LogStep(self)


class LogStep(Transform):
    """See `LogConfig`."""

    def __init__(self, config: LogConfig) -> None:
        self._paths = None if config.fields is None else [(path, parse_path(path)) for path in config.fields]
        self._most = config.max_bytes
        self._write = getattr(structlog.get_logger("mess.log"), config.level)

    def apply(self, event: Event) -> Event:
        """Log the event."""
        self._write(
            "event",
            id=Verbatim(event.id),
            namespace=Verbatim(event.namespace),
            operation=Verbatim(event.operation),
            **self._shown(event),
        )
        return event

    def _shown(self, event: Event) -> dict[str, Any]:
        if self._paths is None:
            return {"body": Json(self._json(event.body))}
        found = {name: get(event.body, path) for name, path in self._paths}
        shown = [(name, value) for name, value in found.items() if value is not MISSING]
        pairs = [b"%b:%b" % (bson_json.plain(name), self._json(value)) for name, value in shown]
        return {"fields": Json(b"{%b}" % b",".join(pairs))}

    def _json(self, value: Any) -> bytes:
        data = bson_json.plain(value)
        if len(data) <= self._most:
            return data
        beginning = data[: self._most].decode("utf-8", "ignore")
        return orjson.dumps(f"{beginning}… (cut: {len(data):,} bytes)")
