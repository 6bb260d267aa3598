"""Makes the sources that a relay reads."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from mess.capture.arrangement import StreamStart
from mess.capture.stream import BRIEF_WAIT_MS, IDLE_WAIT_MS, JOINING_WAIT_MS, REPLY_BYTES, REPLY_EVENTS, ChangeStream
from mess.config.model import Config, WindowOptions


class Share(NamedTuple):
    """One source's share of the memory: its window's events and bytes, and the size of a reply."""

    events: int
    bytes: int
    reply_events: int
    reply_bytes: int

    @classmethod
    def of(cls, bounds: WindowOptions, sources: int) -> Self:
        """The share of one of this many sources.

        Besides the window's contents, memory holds one reply that waits for room, and about as much that is read ahead.
        """
        events, size = bounds.max_events // sources, bounds.max_bytes // sources
        # A small reply costs nearly as much as a large one.
        reply_events, reply_bytes = max(1, min(REPLY_EVENTS, events // 4)), max(1, min(REPLY_BYTES, size // 4))
        return cls(
            events=max(1, events - 2 * reply_events),
            bytes=max(1, size - 2 * reply_bytes),
            reply_events=reply_events,
            reply_bytes=reply_bytes,
        )


def change_stream(client: Any, config: Config, start: StreamStart, share: Share, *, ends: bool = False) -> ChangeStream:
    """A change stream, which `ends` only if the caller ends it."""
    return ChangeStream(
        client,
        start.plan,
        start.position,
        latest=start.latest,
        on_history_lost=config.on_history_lost,
        reply_events=share.reply_events,
        reply_bytes=share.reply_bytes,
        wait_ms=BRIEF_WAIT_MS if ends else JOINING_WAIT_MS if start.joins else IDLE_WAIT_MS,
    )
