"""A part of a change stream that ends at a cluster time."""

from __future__ import annotations

from bisect import bisect_right

from bson import Timestamp

from mess.capture.source import Batch, Source
from mess.capture.wrapped_source import WrappedSource
from mess.event import Position


class BoundedSource(WrappedSource):
    """The events of `stream` up to and including the cluster time `last`, marked as replayed.

    `last` must not be ahead of the deployment's own time; otherwise the end is not noticed before something else
    happens there.
    """

    def __init__(self, stream: Source, last: Timestamp) -> None:
        super().__init__(stream)
        self._last = last
        self._ended = False

    async def read(self) -> Batch | None:
        """The stream's next batch, without events after the end; None once the end is reached. Raises SourceError."""
        if self._ended or (batch := await self._stream.read()) is None:
            return None
        time = batch.position.time
        if time is not None and time >= self._last:
            # Several events may share a cluster time, for example those of a transaction: the last of them has been
            # read when the stream is past that time, or when it has no more events.
            self._ended = time > self._last or not (batch.events or batch.unreadable)
            if time > self._last:
                batch = self._cut(batch)
        for event in batch.events:
            event.replay = True
        return batch

    def _cut(self, batch: Batch) -> Batch:
        count = bisect_right(batch.events, self._last, key=lambda event: self.position_after(event).time or self._last)
        unreadable = tuple(each for each in batch.unreadable if (each.position.time or self._last) <= self._last)
        return Batch(
            events=batch.events[:count], position=Position(None, self._last), unreadable=unreadable, lost=batch.lost
        )
