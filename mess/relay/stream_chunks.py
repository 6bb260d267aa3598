"""The chunks of existing documents that one stream is to merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bson import Timestamp

from mess.capture.merged_source import Placed
from mess.event import Event
from mess.relay.backfill_job import BackfillJob


class StreamChunks:
    """The chunks that one stream is to merge: those of its backfills, one after another. See
    `mess.capture.merged_source.Chunks`. `known` are the backfills of all streams, by id."""

    def __init__(self, known: Mapping[str, BackfillJob]) -> None:
        self.jobs: list[BackfillJob] = []
        self._known = known
        self.nudge: Callable[[], None] = lambda: None

    @property
    def active(self) -> bool:
        """See `Chunks`."""
        return bool(self._known)

    @property
    def wanted(self) -> bool:
        """See `Chunks`."""
        return bool(self.jobs) and (job := self._next()) is not None and job.wanted

    async def read(self, at: Timestamp) -> Placed | None:
        """See `Chunks`."""
        job = self._next()
        placed = None if job is None else await job.read(at)
        # Meanwhile, the backfill may have been given to another stream.
        return placed and (lambda place: placed(place) if job in self.jobs else None)

    def passed(self, events: Sequence[Event]) -> None:
        """See `Chunks`."""
        for event in events:
            if event.key is None:
                # Also those that wait: until a stream has caught up, another one delivers their collection's changes.
                for job in self._known.values():
                    job.passed(event)

    def say_whose_turn(self) -> None:
        """Show which backfill the others wait for."""
        first = self._next()
        for job in self.jobs:
            if job is first:
                job.has_turn()
            elif not job.read_all and not job.paused and first is not None:
                job.wait_for_turn(first.record.id)

    def changed(self) -> None:
        """Another chunk may be wanted."""
        if self.wanted:
            self.nudge()

    def _next(self) -> BackfillJob | None:
        return next((job for job in self.jobs if not job.read_all and not job.paused), None)
