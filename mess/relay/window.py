"""One stream's events in flight, in stream order, limited in number and bytes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from mess.event import Event, Position


class Mark:
    """A position in the stream without an event: after the last event of a reply, or while idle. `reached` is called
    when nothing before it is unfinished."""

    __slots__ = ("position", "reached")

    done = True
    size = 0

    def __init__(self, position: Position, reached: Callable[[], None] | None) -> None:
        self.position = position
        self.reached = reached


class Window:
    """Tracks every unfinished event of a stream, and how far everything is done.

    It contains all events from the oldest unfinished one on, so at most `max_events` events and `max_bytes` bytes of
    BSON can pass an event that takes long. An event larger than the window is admitted alone. `finished` counts the
    events before the position. `position_after` is the source's.
    """

    def __init__(self, max_events: int, max_bytes: int, position_after: Callable[[Event], Position]) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._position_after = position_after
        self.bytes = 0
        self.finished = 0
        self._entries: deque[Event | Mark] = deque()
        self._events = 0
        self._reached: Event | Mark | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._waits_since = 0.0
        self._moved_at = 0.0
        self._drains = False

    def __len__(self) -> int:
        return self._events

    @property
    def position(self) -> Position | None:
        """The newest position with nothing unfinished before it; None until there is one."""
        return self._after(self._reached)

    @property
    def admitted(self) -> Position | None:
        """The position up to which every event has been admitted; None until there is one."""
        return self._after(self._entries[-1] if self._entries else self._reached)

    @property
    def blocked_since(self) -> float | None:
        """Since when (`time.monotonic`) something has been waiting without any progress; None if nothing waits."""
        return None if self._waiter is None else max(self._waits_since, self._moved_at)

    @property
    def oldest(self) -> Event | None:
        """The oldest unfinished event."""
        return next(self.unfinished(), None)

    def events(self) -> Iterator[Event]:
        """All events from the oldest unfinished one on, in stream order."""
        return (entry for entry in self._entries if isinstance(entry, Event))

    def unfinished(self) -> Iterator[Event]:
        """The unfinished events, in stream order."""
        return (event for event in self.events() if not event.done)

    def find(self, event_id: str) -> Event | None:
        """The unfinished event with this id."""
        return next((event for event in self.unfinished() if event.id == event_id), None)

    @property
    def full(self) -> str | None:
        """How full it is, in the measure that keeps further events out; None unless events wait for room."""
        if self._waiter is None or self._drains:
            return None
        if self._events >= self.max_events or self.bytes < self.max_bytes * 7 // 8:
            return f"{self._events:,} of {self.max_events:,} events"
        return f"{_size(self.bytes)} of {_size(self.max_bytes)}"

    async def admit(self, events: Sequence[Event]) -> int:
        """Admit as many of `events`, from the first on, as there is room for; wait until there is some.

        Returns how many were admitted, at least one.
        """
        while not (count := self._fitting(events)):
            await self._until(min(len(events), max(1, self.max_events // 8)))
        taken = events if count == len(events) else events[:count]
        self._entries.extend(taken)
        self._events += count
        self.bytes += sum(event.size for event in taken)
        return count

    def mark(self, position: Position, reached: Callable[[], None] | None = None) -> None:
        """Record that the stream has been read up to `position`. `reached` is called when everything before is
        done."""
        self._entries.append(Mark(position, reached))
        self._advance()

    def done(self, events: Iterable[Event]) -> None:
        """Record that every step has finished with `events`, or that they are stored as dead letters."""
        for event in events:
            event.done = True
        if self._entries and self._entries[0].done:
            self._advance()

    async def drained(self) -> None:
        """Wait until no event is unfinished."""
        self._drains = True
        try:
            while self._events:
                await self._until(self.max_events)
        finally:
            self._drains = False

    def _after(self, entry: Event | Mark | None) -> Position | None:
        if entry is None or isinstance(entry, Mark):
            return None if entry is None else entry.position
        return self._position_after(entry)

    def _fitting(self, events: Sequence[Event]) -> int:
        room = self.max_bytes - self.bytes
        count = 0
        for event in events[: max(0, self.max_events - self._events)]:  # it may have been made smaller
            room -= event.size
            if room < 0 and (count or self._events):
                break
            count += 1
        return count

    async def _until(self, wanted: int) -> None:
        # Waking for each event that leaves would make the dispatcher work event by event: wake only after a share has
        # left.
        self._wanted = wanted
        self._waits_since = time.monotonic()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _advance(self) -> None:
        entries = self._entries
        self._moved_at = time.monotonic()
        while entries and entries[0].done:
            entry = entries.popleft()
            self._reached = entry
            if entry.__class__ is not Mark:
                self.finished += 1
                self._events -= 1
                self.bytes -= entry.size
            elif entry.reached is not None:
                entry.reached()
        waiter = self._waiter
        if waiter is not None and not waiter.done() and self._roomy():
            waiter.set_result(None)

    def _roomy(self) -> bool:
        if not self._events:
            return True
        return self.max_events - self._events >= self._wanted and self.bytes <= self.max_bytes * 7 // 8


def _size(size: int) -> str:
    return f"{size / 1024**2:.1f} MiB" if size >= 1024**2 else f"{size / 1024:.1f} KiB"
