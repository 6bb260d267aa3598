"""Finds streams that are blocked by one event: which, for how long, and where that event waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mess.event import Event
from mess.options.values import spoken
from mess.relay.runner import StreamRunner
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

BLOCKED_AFTER = 10.0
"""How many seconds without progress make a full stream count as blocked."""
_LOG_AGAIN = 600.0
_LOOK_EVERY = 2.0
_KEY_SHOWN = 100  # characters


def blockage(runner: StreamRunner, *, documents: bool = True) -> str | None:
    """Why a stream has made no progress for some time although events are waiting, naming the event and the step; None
    if it is moving or has nothing to do. Without `documents`, leave out the event's key."""
    window = runner.window
    since = window.blocked_since
    if since is None or (seconds := time.monotonic() - since) < BLOCKED_AFTER:
        return None
    oldest = window.oldest
    if oldest is None:
        return None
    where = next((place for lane in runner.lanes if (place := lane.locate(oldest)) is not None), "")
    fills = window.full
    state = f"is full ({fills})" if fills else "waits for the events before a drop, rename or dropDatabase"
    return (
        f"stream {runner.name} {state}; blocked for {spoken(seconds)}{f' by {where}' if where else ''}; "
        f"oldest event {oldest.id}, {_named(oldest, key=documents)}"
    )


def blocked(runners: Sequence[StreamRunner], *, documents: bool = True) -> list[str]:
    """The blockages of all streams that are blocked."""
    return [text for runner in runners if (text := blockage(runner, documents=documents)) is not None]


class HasRunners(Protocol):
    """The streams of a relay, whose number may change."""

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""


@dataclass(slots=True)
class BlockedStreamLog:
    """Logs when a stream becomes blocked, every ten minutes while it is, and when it flows again."""

    streams: HasRunners
    _logged: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Check the streams repeatedly, forever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Log what has changed since the last check."""
        now = time.monotonic()
        for runner in self.streams.runners:
            text = blockage(runner)
            if text is None:
                if self._logged.pop(runner.name, None) is not None:
                    log.info("stream flows again", stream=runner.name)
            elif now - self._logged.get(runner.name, -_LOG_AGAIN) >= _LOG_AGAIN:
                self._logged[runner.name] = now
                log.warning(text)


def _named(event: Event, *, key: bool) -> str:
    place = event.namespace.coll or event.namespace.db
    if event.key is None or not key:
        return f"{event.operation} of {place}"
    text = str(event.key.get("_id"))
    return f"{place} {text if len(text) <= _KEY_SHOWN else text[:_KEY_SHOWN] + '…'}"
