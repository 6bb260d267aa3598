"""A stretch of a change stream: up to a cluster time, where it ends."""

from __future__ import annotations

import asyncio
from bisect import bisect_right

from bson import Timestamp

from mess.capture.source import Batch, Source
from mess.event import Position


class BoundedSource:
    """What `stream` has to give up to the cluster time `last`, that included, to be replayed: its events say so.

    `last` must not lie ahead of the deployment's own time, or the end is not seen before something else happens there.
    """

    def __init__(self, stream: Source, last: Timestamp) -> None:
        self._stream = stream
        self._last = last
        self._ended = False

    @property
    def name(self) -> str:
        """The stream's."""
        return self._stream.name

    @property
    def problem(self) -> str | None:
        """The stream's."""
        return self._stream.problem

    @property
    def connected(self) -> asyncio.Event:
        """The stream's."""
        return self._stream.connected

    @property
    def position(self) -> Position:
        """The stream's."""
        return self._stream.position

    async def read(self) -> Batch | None:
        """The stream's next batch, without what lies behind the end; None when that is reached. Raises SourceError."""
        if self._ended or (batch := await self._stream.read()) is None:
            return None
        time = batch.position.time
        if time is not None and time >= self._last:
            # Several events may have one cluster time, as those of a transaction have: the last of them has been read
            # when the stream is past that time, or when it has no more to give.
            self._ended = time > self._last or not (batch.events or batch.unreadable)
            if time > self._last:
                batch = self._cut(batch)
        for event in batch.events:
            event.replay = True
        return batch

    async def close(self) -> None:
        """Let go of the stream's cursor."""
        await self._stream.close()

    def _cut(self, batch: Batch) -> Batch:
        count = bisect_right(batch.events, self._last, key=lambda event: event.position.time or self._last)
        unreadable = tuple(each for each in batch.unreadable if (each.position.time or self._last) <= self._last)
        return Batch(batch.events[:count], Position(None, self._last), unreadable, batch.lost)
