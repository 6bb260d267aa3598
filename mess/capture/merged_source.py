"""Merges existing documents into a change stream, each chunk at its exact place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from bson import Timestamp

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

    async def read(self, at: Timestamp, place: Position) -> Batch | None:
        """The next chunk as of `at`, for the place with this position; None if it cannot be read there."""

    def passed(self, events: Sequence[Event]) -> None:
        """These changes precede the next chunk. Called while chunks remain to be read."""

    @property
    def active(self) -> bool:
        """Whether chunks remain to be read."""


class MergedSource(WrappedSource):
    """A change stream with existing documents merged into it.

    Changes come first: a chunk is read only while nothing else waits to be read from the stream, or once for every 500
    changes. What follows a chunk's place is held only while the chunk is read. While no chunks remain, it is the stream
    itself.
    """

    def __init__(self, stream: LiveSource, chunks: Chunks) -> None:
        super().__init__(stream)
        self._live = stream
        self._chunks = chunks
        self._places = Places(stream.position.time)
        self._position = stream.position
        self._held: tuple[Batch, Timestamp | None] | None = None
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
            if self._held is not None:
                held, at = self._held
                self._held = (held, None)
                if at is not None and self._chunks.wanted:
                    chunk = await self._chunks.read(at, self._position)
                    if chunk is not None:
                        self._since_chunk = 0
                        return chunk
                self._held = None
                return self._passed(held)
            wanted = self._chunks.wanted
            if wanted and self._places.here is not None and not self._live.ready:
                chunk = await self._chunks.read(self._places.here, self._position)
                if chunk is not None:
                    return chunk
                continue
            batch = await self._live.read()
            if batch is None:
                return None
            due = wanted and (self._since_chunk >= _CHANGES or not self._live.ready)
            split = self._places.split(batch) if due else None
            if split is None:
                return self._passed(batch)
            before = batch.events[: split.before]
            self._held = (replace(batch, events=batch.events[split.before :]), split.at)
            if before:
                return self._passed(Batch(before, self._live.position_after(before[-1])))

    def _passed(self, batch: Batch) -> Batch:
        self._places.passed(batch)
        self._position = batch.position
        self._since_chunk += len(batch.events)
        if batch.events and self._chunks.active:
            self._chunks.passed(batch.events)
        return batch
