"""The steps that events go through, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mess.event import Event
from mess.relay.stage import Stage
from mess.step import DEFAULT_LANES, MINI_BATCH_EVENTS

_SINGLE_FILE = 32

Done = Callable[[Sequence[Event], bool], None]
"""Told of events that no step has more to do with, and whether they went through all of them (else they were dropped,
skipped, or lie in the dead letters)."""


class Pipeline:
    """An ordered list of stages that many lanes use at a time. `mini_batch` is how many events it is
    best given, `lanes` how many lanes serve it best."""

    def __init__(self, name: str, stages: Sequence[Stage]) -> None:
        self.name = name
        self.stages = tuple(stages)
        self.lanes = max((stage.step.lanes for stage in stages if stage.step.lanes), default=DEFAULT_LANES)
        # What a lane has taken stays in memory to the end of the mini-batch; where events go one by one, a large one
        # saves nothing.
        self.mini_batch = MINI_BATCH_EVENTS if all(stage.max_events > 1 for stage in stages) else _SINGLE_FILE

    async def open(self) -> None:
        """Open every step, in order."""
        for stage in self.stages:
            await stage.step.open()

    async def close(self) -> None:
        """Close every step, the last one first."""
        for stage in reversed(self.stages):
            await stage.step.close()

    async def run(self, events: Sequence[Event], done: Done) -> None:
        """Put `events` through all steps; `done` is told of every event as soon as no step has more to do with it.

        Raises what `Stage.process` raises.
        """
        await self._from(0, events, done)

    async def _from(self, index: int, events: Sequence[Event], done: Done) -> None:
        for position in range(index, len(self.stages)):
            stage = self.stages[position]
            most = stage.max_events
            if len(events) > most:
                stage.step.prepare(events)
                # Each slice goes all the way before the next begins, so that what is done is known early.
                for start in range(0, len(events), most):
                    await self._from(position, events[start : start + most], done)
                return
            passed = await stage.process(events)
            if len(passed) < len(events):
                kept = {id(event) for event in passed}
                done([event for event in events if id(event) not in kept], False)
                if not passed:
                    return
            events = passed
        done(events, True)
