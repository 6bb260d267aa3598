"""Merges existing documents into a change stream, each chunk at its exact place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bson import Timestamp

from mess.cancellation import cancel
from mess.capture.places import Places
from mess.capture.source import Batch, PlacedEvent, Source
from mess.capture.wrapped_source import WrappedSource
from mess.event import Event, Position

_CHANGES = 500
"""After so many changes, a chunk may be read even while more of them wait: it would never be its turn otherwise."""


class LiveSource(Source, Protocol):
    """A source that others can be merged with."""

    @property
    def ready(self) -> bool:
        """Whether `read` returns without waiting for the server."""

    def interrupt(self) -> None:
        """Make a `read` that waits for changes return an empty batch."""


class Chunks(Protocol):
    """The chunks that are to be merged into one stream."""

    @property
    def wanted(self) -> bool:
        """Whether a chunk is to be read now. When this becomes true, the merged source is `nudge`d."""

    async def read(self, at: Timestamp) -> Placed | None:
        """The next chunk as of `at`; None if it cannot be read. Until it is placed, it counts as not read."""

    def passed(self, events: Sequence[Event]) -> None:
        """These changes precede the next chunk. Called while chunks remain to be read."""

    @property
    def active(self) -> bool:
        """Whether chunks remain to be read."""


Placed = Callable[[Position], Batch | None]
"""A chunk's events, for the place with this position; None if they are not wanted any more."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A chunk that is being read, as of `at`."""

    at: Timestamp
    task: asyncio.Task[Placed | None]

    @property
    def was_in_vain(self) -> bool:
        """Whether it is over, without a chunk. Raises what ended it."""
        return self.task.done() and self.task.result() is None


class MergedSource(WrappedSource):
    """A change stream with existing documents merged into it.

    Changes come first: a chunk is read only while nothing else waits to be read from the stream, or once for every 500
    changes. What follows a chunk's place is held until the chunk is read. While no chunks remain, it is the stream
    itself.
    """

    def __init__(self, stream: LiveSource, chunks: Chunks) -> None:
        super().__init__(stream)
        self._live = stream
        self._chunks = chunks
        self._places = Places(stream.position.time)
        self._position = stream.position
        self._reading: _Reading | None = None
        self._held: Batch | None = None
        self._since_chunk = 0

    @property
    def position(self) -> Position:
        """See `Source`."""
        return self._position

    def position_after(self, event: Event) -> Position:
        """See `Source`."""
        return event.place if isinstance(event, PlacedEvent) else self._live.position_after(event)

    def nudge(self) -> None:
        """A chunk is wanted now."""
        self._live.interrupt()

    async def read(self) -> Batch | None:
        """See `Source`."""
        while True:
            reading = self._reading
            if reading is not None and (
                self._held is not None or self._places.is_here(reading.at) or reading.was_in_vain
            ):
                chunk = await self._chunk(reading)
                if chunk is not None:
                    return chunk
            if self._held is not None:
                held, self._held = self._held, None
                return self._passed(held)
            if self._reading is None and self._chunks.wanted:
                self._begin_reading()
                if self._reading is not None:
                    continue
            batch = await self._live.read()
            if batch is None or (reading := self._reading) is None:
                return None if batch is None else self._passed(batch)
            later = self._places.later(batch, reading.at)
            if later is None:
                await self._discard(reading)
            elif later < len(batch.events):
                before = batch.events[:later]
                self._held = replace(batch, events=batch.events[later:])
                if not before:
                    continue
                batch = Batch(before, self._live.position_after(before[-1]))
            return self._passed(batch)

    async def close(self) -> None:
        """See `Source`."""
        if self._reading is not None:
            await self._discard(self._reading)
        await super().close()

    def _begin_reading(self) -> None:
        at = self._places.next
        if at is not None and (self._since_chunk >= _CHANGES or not self._live.ready):
            task = asyncio.create_task(self._chunks.read(at))
            self._reading = _Reading(at, task)
            task.add_done_callback(self._tell_if_in_vain)

    def _tell_if_in_vain(self, task: asyncio.Task[Placed | None]) -> None:
        if not task.cancelled() and (task.exception() is not None or task.result() is None):
            self.nudge()

    async def _chunk(self, reading: _Reading) -> Batch | None:
        """The chunk that is being read, which belongs here; None if there is none after all."""
        placed = await reading.task
        self._reading = None
        chunk = None if placed is None else placed(self._position)
        if chunk is not None:
            self._since_chunk = 0
        return chunk

    async def _discard(self, reading: _Reading) -> None:
        self._reading = None
        await cancel(reading.task)

    def _passed(self, batch: Batch) -> Batch:
        self._places.passed(batch)
        self._position = batch.position
        self._since_chunk += len(batch.events)
        if batch.events and self._chunks.active:
            self._chunks.passed(batch.events)
        return batch
