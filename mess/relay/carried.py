"""What is known of events that streams which are arranged anew will read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bson import Timestamp

from mess.capture.coverage import Coverage, lookup
from mess.capture.source import PlacedEvent
from mess.capture.tokens import has_passed, position_after
from mess.event import Event, Namespace, Position
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.window import Window


class Carried:
    """What streams that were halted have done with the events that follow: some are done, and not to be delivered
    again; others have been through a part of their steps. `coverage` says which stream delivered which events."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._until: Timestamp | None = None
        self._positions: dict[str, Position] = {}
        self._owners: dict[Namespace, Position | None] = {}
        self._done: set[str] = set()
        self._reached: dict[str, tuple[Pipeline, int, Event]] = {}
        self._earlier: list[Carried] = []

    def follow(self, earlier: Carried) -> None:
        """Add what a stream that was halted had not read again yet."""
        if earlier not in self._earlier:
            self._earlier.append(earlier)
            self._extend(earlier._until)
            self._reached = {**earlier._reached, **self._reached}

    def without_progress(self) -> Carried:
        """The same without what events have been through: they will contain something else."""
        found = Carried(self._coverage)
        found._until, found._positions, found._owners = self._until, self._positions, self._owners
        found._done, found._earlier = self._done, self._earlier
        return found

    def add(self, stream: str, window: Window, lanes: Iterable[Lane], *, read: Position) -> None:
        """Add what a stream that has read up to `read`, and whose lanes have stopped, has done."""
        self._extend(read.time)
        if window.position is not None:
            self._positions[stream] = window.position
        # An event that was never in a lane may be left to another stream. Documents are read anew.
        self._done.update(event.id for event in window.events() if event.done and event.ordering_key)
        for lane in lanes:
            for position, event in lane.unfinished():
                if position and not event.backfill:
                    self._reached[event.id] = lane.pipeline, position, event

    def _extend(self, time: Timestamp | None) -> None:
        if time is not None and (self._until is None or time > self._until):
            self._until = time

    def is_past(self, position: Position | None) -> bool:
        """Whether nothing is known of events behind a position."""
        time = None if position is None else position.time
        return self._until is None or (time is not None and time > self._until)

    def undone(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those of some events that are not done."""
        return [event for event in events if not self._is_done(event)]

    def _is_done(self, event: Event) -> bool:
        if event.id in self._done or any(earlier._is_done(event) for earlier in self._earlier):
            return True
        if isinstance(event, PlacedEvent):
            return False
        # A stream whose plan has changed begins by cluster time, which its last event may share with others.
        position = self._position_of(event.namespace)
        return position is not None and has_passed(position, position_after(event))

    def _position_of(self, namespace: Namespace) -> Position | None:
        """Where the stream is that delivered a namespace's events."""
        if namespace not in self._owners:
            covered = lookup(self._coverage, namespace)
            stream = None if covered is None else covered.stream
            self._owners[namespace] = None if stream is None else self._positions.get(stream)
        return self._owners[namespace]

    def advance(self, lane: Lane) -> None:
        """Let events that wait in a lane continue where they are, if its pipeline does the same as theirs did."""
        for event in lane.events:
            pipeline, position, known = self._reached.pop(event.id, (None, 0, event))
            if pipeline is not None and lane.pipeline.continues(pipeline, position):
                event.body = known.body
                lane.advance(event, position)
