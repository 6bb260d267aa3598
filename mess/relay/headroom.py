"""Monitors how far each stream's position is from the end of MongoDB's oplog, beyond which changes are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from bson import Timestamp

from mess.capture.client import LacksPrivilege
from mess.capture.oplog import Oplog
from mess.errors import SourceError
from mess.options.values import spoken
from mess.relay.checkpointer import Progress
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK_EVERY = 30.0
_LOG_AGAIN = 600.0
_TIGHT = 0.25
"""The minimum distance of a position from the oplog's end, as a share of the oplog's time range."""


def is_tight(position: Timestamp, oplog: Oplog) -> bool:
    """Whether a position is close to the oplog's end: within a quarter of the oplog's time range."""
    return oplog.rolls and position.time - oplog.oldest.time < _TIGHT * oplog.seconds


class OplogWatch:
    """Checks the oplog every 30 s, and warns while a stream's position is close to its end.

    `ask` reads the oplog, and updates the server's clock; it returns None if there is none, as on mongos. `streams` are
    those to check, without those that have stopped because their history is lost.
    """

    def __init__(self, ask: Callable[[], Awaitable[Oplog | None]], streams: Callable[[], Sequence[Progress]]) -> None:
        self._ask = ask
        self._streams = streams
        self._oplog: Oplog | None = None
        self._denied = False
        self._logged: dict[str, float] = {}

    @property
    def window(self) -> float | None:
        """How many seconds the oplog reaches back; None while that is unknown, or while it still has room."""
        return None if self._oplog is None or not self._oplog.rolls else float(self._oplog.seconds)

    def headroom(self, stream: Progress) -> float | None:
        """How many seconds a stream's position is ahead of the oldest oplog entry; None while unknown."""
        position = stream.window.position or stream.saved
        if self._oplog is None or position is None or position.time is None:
            return None
        return float(position.time.time - self._oplog.oldest.time)

    def warnings(self) -> list[str]:
        """A sentence for each stream whose position is close to the oplog's end."""
        return [text for stream in self._streams() if (text := self._warning(stream)) is not None]

    async def run(self) -> None:
        """Check repeatedly, forever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        """Read the oplog, and log what has changed since the last check."""
        try:
            self._oplog = await self._ask()
        except LacksPrivilege as error:
            if not self._denied:
                self._denied = True
                log.info(
                    "the oplog cannot be read, so mess_oplog_headroom_seconds is absent; "
                    "grant find on the collection oplog.rs of the database local",
                    error=str(error),
                )
        except SourceError as error:
            log.debug("the oplog cannot be read at present", error=str(error))
        self._log()

    def _log(self) -> None:
        now = time.monotonic()
        for stream in self._streams():
            text = self._warning(stream)
            if text is None:
                if self._logged.pop(stream.stream, None) is not None:
                    log.info("the stream is far from the oplog's end again", stream=stream.stream)
            elif now - self._logged.get(stream.stream, -_LOG_AGAIN) >= _LOG_AGAIN:
                self._logged[stream.stream] = now
                log.warning(text)

    def _warning(self, stream: Progress) -> str | None:
        oplog, headroom = self._oplog, self.headroom(stream)
        position = stream.window.position or stream.saved
        if oplog is None or headroom is None or position is None or position.time is None:
            return None
        if not is_tight(position.time, oplog):
            return None
        return (
            f"stream {stream.stream} is {spoken(max(0.0, headroom))} from the end of MongoDB's oplog, which reaches "
            f"{spoken(oplog.seconds)} back: changes will be lost. Find out what holds the stream up, or enlarge the "
            "oplog (replSetResizeOplog)"
        )
