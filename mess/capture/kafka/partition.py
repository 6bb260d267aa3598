"""One partition as a source of events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bson import Timestamp

from mess.capture.kafka.places import Lost, PartitionKey, Start
from mess.capture.kafka.record import Decoder, KafkaEvent, Record, position
from mess.capture.source import Batch, LostHistory, PlacedEvent
from mess.event import Event, Position

_LARGE = 1024 * 1024 + 64 * 1024
"""Bytes. A usual load is smaller."""


class Load(NamedTuple):
    """Records of one partition, in order, and their size in bytes."""

    records: Sequence[Record]
    size: int


class End(NamedTuple):
    """There are no records between the last one and this `offset`, only markers of transactions, and records of those
    that were aborted."""

    offset: int


class PartitionSource:
    """The events of one partition from a `start` on. `take` is called with every load that has been used."""

    def __init__(self, start: Start, decoder: Decoder, taken: Callable[[PartitionKey, Load], None]) -> None:
        self.key = start.key
        self.name = str(start.key)
        self.problem: str | None = None
        self.connected = asyncio.Event()
        self.connected.set()
        self.offset = start.offset
        self.topic_id = start.topic_id
        """That of the topic of the newest event with nothing unfinished before it."""
        self._decoder = decoder
        self._taken = taken
        self._time: Timestamp | None = None
        self._loads: deque[Load | Lost | End] = deque()
        self._arrived = asyncio.Event()
        if start.lost is not None:
            self.lose(start.lost)

    @property
    def position(self) -> Position:
        """See `Source`."""
        return position(*self.key, self.offset, self._time)

    def add(self, load: Load) -> None:
        """Records that follow those before."""
        self._loads.append(load)
        self._arrived.set()

    def caught_up(self, end: int, now: float) -> None:
        """At this time, in seconds since 1970, the partition ended there. If all of it has been read, it is not behind,
        however old its last event is."""
        if self.offset >= end and not self._loads:
            self._time = Timestamp(int(now), 0)
            self._arrived.set()

    def lose(self, lost: Lost) -> None:
        """Behind what has been added so far, these records are gone."""
        self._loads.append(lost)
        self._arrived.set()

    def reach(self, offset: int) -> None:
        """Behind what has been added so far, there is nothing before this offset."""
        if offset > self._added:
            self._loads.append(End(offset))
            self._arrived.set()

    @property
    def _added(self) -> int:
        """The offset behind what has been added so far; a smaller one while the last load is being decoded."""
        if not self._loads:
            return self.offset
        last = self._loads[-1]
        if isinstance(last, Load):
            return last.records[-1].offset + 1
        return last.until if isinstance(last, Lost) else last.offset

    async def read(self) -> Batch | None:
        """See `Source`."""
        if not self._loads:
            self._arrived.clear()
            await self._arrived.wait()
        return await self._next() if self._loads else Batch((), self.position)

    async def _next(self) -> Batch:
        load = self._loads.popleft()
        if isinstance(load, Lost):
            self.offset = load.until
            return Batch((), self.position, lost=self._history(load), reached=partial(self._continue_in, load.topic_id))
        if isinstance(load, End):
            self.offset = load.offset
            return Batch((), self.position)
        decode = self._decoder.events
        # Large documents in Extended JSON take seconds, in which everything else goes on.
        in_thread = load.size > _LARGE
        events, unreadable = await asyncio.to_thread(decode, load.records) if in_thread else decode(load.records)
        self._taken(self.key, load)
        self.offset = load.records[-1].offset + 1
        if events and isinstance(time := events[-1].change.get("clusterTime"), Timestamp):
            self._time = time
        return Batch(events, self.position, tuple(unreadable))

    def _continue_in(self, topic_id: str | None) -> None:
        self.topic_id = topic_id

    def _history(self, lost: Lost) -> LostHistory:
        since, until = position(*self.key, lost.since), position(*self.key, lost.until)
        if lost.count is None:
            return LostHistory(since, until, lost.reason)
        first, last = (f"{self.name}@{offset}" for offset in (lost.since, lost.until - 1))
        return LostHistory(since, until, lost.reason, first=first, last=last, count=lost.count)

    def position_after(self, event: Event) -> Position:
        """See `Source`."""
        if isinstance(event, PlacedEvent):
            return event.place
        assert isinstance(event, KafkaEvent), "a partition has no other events"
        time = event.change.get("clusterTime")
        return position(*self.key, event.next_offset, time if isinstance(time, Timestamp) else None)

    async def close(self) -> None:
        """Discard what has not been read."""
        self._loads.clear()
