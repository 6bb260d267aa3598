"""The log step: events in the relay's own log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import orjson
import structlog

from mess import codec
from mess.body import Shape
from mess.event import Event
from mess.paths import MISSING, get, parse_path
from mess.step import Context, Reading, StepConfig, Transform
from mess.template import PathText


class LogConfig(StepConfig):
    """Writes each event to the relay's log and hands it on unchanged: one structured line per event, as JSON or for the
    console, like everything else the relay logs.

    Options that it does not know are passed over with a warning, since existing configs of the Node.js tool carry some.
    """

    name: ClassVar[str] = "log"
    ignores_unknown: ClassVar[bool] = True

    fields: tuple[PathText, ...] | None = None
    """Paths of the body to log, such as `fullDocument.total`. Default: the whole body."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The level to log at."""

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        for index, path in enumerate(self.fields or ()):
            yield Reading(("fields", index), path, "none")

    def body_after(self, body: Shape | None) -> Shape | None:
        """Events go on as they came."""
        return body

    def build(self, context: Context) -> LogStep:
        """Make the step."""
        return LogStep(self)


class LogStep(Transform):
    """See `LogConfig`."""

    def __init__(self, config: LogConfig) -> None:
        self._paths = None if config.fields is None else [(path, parse_path(path)) for path in config.fields]
        self._write = getattr(structlog.get_logger("mess.log"), config.level)

    def apply(self, event: Event) -> Event:
        """Log the event."""
        self._write(
            "event", id=event.id, namespace=str(event.namespace), operation=event.operation, **self._shown(event)
        )
        return event

    def _shown(self, event: Event) -> dict[str, Any]:
        if self._paths is None:
            return {"body": _jsonable(event.body)}
        found = {name: get(event.body, path) for name, path in self._paths}
        return {"fields": {name: _jsonable(value) for name, value in found.items() if value is not MISSING}}


def _jsonable(value: Any) -> Any:
    return orjson.loads(codec.plain(value))
