"""The steps that events go through, in order."""

from __future__ import annotations

from collections.abc import Sequence

from mess.event import Event
from mess.relay.group import Group
from mess.relay.parking import Parking
from mess.relay.stage import Stage
from mess.step import DEFAULT_LANES, MINI_BATCH_EVENTS
from mess.telemetry.metrics import Done

_SINGLE_FILE = 8


class Pipeline:
    """An ordered list of stages that many lanes use at a time. `mini_batch` is how many events it is best given."""

    def __init__(self, name: str, stages: Sequence[Stage]) -> None:
        self.name = name
        self.stages = tuple(stages)
        self._lanes = max((stage.lanes for stage in stages if stage.lanes), default=DEFAULT_LANES)
        self._asked = any(stage.concurrency for stage in stages)
        # What a lane has taken stays in memory to the end of the mini-batch; where events go one by one, a large one
        # saves nothing.
        self.mini_batch = MINI_BATCH_EVENTS if all(stage.max_events > 1 for stage in stages) else _SINGLE_FILE

    def lanes(self, room: int) -> int:
        """How many lanes serve it best where so many events may be in flight: unless a step asks for them, no more
        than these fill."""
        return self._lanes if self._asked else max(1, min(self._lanes, room // self.mini_batch))

    async def open(self) -> None:
        """Open every step, in order."""
        for stage in self.stages:
            await stage.step.open()

    async def close(self) -> None:
        """Close every step, the last one first."""
        for stage in reversed(self.stages):
            await stage.step.close()

    async def run(self, events: Sequence[Event], done: Done, parking: Parking) -> None:
        """Put `events` through all steps; `done` is told of every event as soon as no step has more to do with it.
        Those that wait for their next attempt are in `parking` then, which is the lane's.

        Raises what `Stage.process` raises.
        """
        await self._from(0, events, done, parking)

    async def retry(self, done: Done, parking: Parking) -> None:
        """Make the next attempt on the events that are due in `parking`; those that waited behind them follow."""
        group, behind = parking.take()
        await self._from(group.position, group.events, done, parking, group)
        for position, events in behind:
            await self._from(position, events, done, parking)

    async def _from(
        self, index: int, events: Sequence[Event], done: Done, parking: Parking, group: Group | None = None
    ) -> None:
        for position in range(index, len(self.stages)):
            if parking:
                events = parking.pass_by(events, position)
                if not events:
                    return
            stage = self.stages[position]
            most = stage.max_events
            if len(events) > most:
                stage.step.prepare(events)
                # Each slice goes all the way before the next begins, so that what is done is known early.
                for start in range(0, len(events), most):
                    await self._from(position, events[start : start + most], done, parking)
                return
            parking.position = position
            passed, groups, untried = await stage.process(events, group)
            group = None
            if groups or untried:
                await self._after_failure(position, events, passed, groups, untried, done, parking)
                return
            if len(passed) < len(events):
                kept = {id(event) for event in passed}
                done([event for event in events if id(event) not in kept], False)
                if not passed:
                    return
            events = passed
        done(events, True)

    async def _after_failure(
        self,
        position: int,
        events: Sequence[Event],
        passed: Sequence[Event],
        groups: Sequence[Group],
        untried: Sequence[Event],
        done: Done,
        parking: Parking,
    ) -> None:
        going_on = {id(event) for part in (passed, untried, *(group.events for group in groups)) for event in part}
        if finished := [event for event in events if id(event) not in going_on]:
            done(finished, False)
        early, late = parking.sort_out(events, passed, groups)
        # What goes on comes before what failed: should it fail too, at a later stage, the others are to wait behind it.
        if early:
            await self._from(position + 1, early, done, parking)
        for group in groups:
            group.position = position
        parking.park(groups, events)
        parking.pass_by(late, position + 1)
        if untried:
            await self._from(position, untried, done, parking)
