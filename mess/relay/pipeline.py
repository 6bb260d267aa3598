"""The steps that events go through, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from mess.cancellation import cancel
from mess.event import Event
from mess.relay.completion import Completion
from mess.relay.retry_group import RetryGroup
from mess.relay.retry_queue import RetryQueue
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.steps.base import DEFAULT_LANES, MINI_BATCH_EVENTS

_SINGLE_FILE = 8


class Pipeline:
    """An ordered list of steps that many lanes use concurrently. `mini_batch` is the best number of events per call.

    `stopping` tells its lanes to stop. `identities` say what each step does: steps with the same one do the same to an
    event. While the pipeline is `held`, its lanes collect events and process none.
    """

    def __init__(
        self, name: str, runners: Sequence[StepRunner], stopping: Stopping, identities: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.steps = tuple(runners)
        self.stopping = stopping
        self.held = False
        self.identities = tuple(identities)
        self._opened: list[StepRunner] = []
        self._checks: list[asyncio.Task[None]] = []
        self._lanes = max((runner.lanes for runner in runners if runner.lanes), default=DEFAULT_LANES)
        self._asked = any(runner.concurrency for runner in runners)
        # What a lane has taken stays in memory until the end of the mini-batch; if steps process events one by one, a
        # large mini-batch gains nothing.
        self.mini_batch = MINI_BATCH_EVENTS if all(runner.max_events > 1 for runner in runners) else _SINGLE_FILE

    def lanes(self, room: int) -> int:
        """The best number of lanes if `room` events may be in flight: unless a step asks for more, only as many as
        those events can fill."""
        return self._lanes if self._asked else max(1, min(self._lanes, room // self.mini_batch))

    def continues(self, earlier: Pipeline, position: int) -> bool:
        """Whether an event that is at this position in an `earlier` pipeline may continue there in this one: everything
        that has been done with it so far would be done in the same way."""
        done = earlier.identities[:position]
        return len(done) == position and self.identities[:position] == done

    async def open(self) -> None:
        """Open every step, in order. Raises what one of them raises; those before it are open then."""
        for runner in self.steps:
            self._opened.append(runner)
            await runner.step.open()

    def check(self) -> None:
        """Beside its work, find out whether its steps can work, until they can or it is closed."""
        self._checks = [asyncio.create_task(self._check(runner)) for runner in self.steps]

    async def _check(self, runner: StepRunner) -> None:
        try:
            await runner.check()
        except Exception as error:
            self.stopping.fail(error)

    async def close(self) -> None:
        """Close every step that was opened, in reverse order."""
        await cancel(*self._checks)
        while self._opened:
            await self._opened.pop().step.close()

    async def run(
        self, events: Sequence[Event], completion: Completion, retries: RetryQueue, *, position: int = 0
    ) -> None:
        """Put `events` through all steps, from the one at `position` on; give events to `completion` as soon as no step
        has more to do with them. Events to be retried later end up in `retries`, which belongs to the lane.

        Raises the same errors as `StepRunner.process`.
        """
        await self._from(position, events, completion, retries)

    async def retry(self, completion: Completion, retries: RetryQueue) -> None:
        """Make the next attempt for the events that are due in `retries`; the events that waited behind them follow."""
        group, behind = retries.take()
        try:
            await self._from(group.position, group.events, completion, retries, group)
            for position, events in behind:
                await self._from(position, events, completion, retries)
        except BaseException:
            group.over()
            for position, events in behind:
                retries.interrupt(position, events)
            raise
        retries.put_down()

    async def _from(
        self,
        index: int,
        events: Sequence[Event],
        completion: Completion,
        retries: RetryQueue,
        group: RetryGroup | None = None,
    ) -> None:
        position = index
        try:
            while position < len(self.steps):
                runner = self.steps[position]
                if retries and group is None:
                    events = retries.admit(events, position, runner.step.destination)
                    if not events:
                        return
                most = runner.max_events
                if len(events) > most:
                    runner.step.prepare(events)
                    # Each slice goes through all steps before the next one starts, so that finished events are known
                    # early.
                    for start in range(0, len(events), most):
                        await self._from(position, events[start : start + most], completion, retries)
                    return
                retries.position = position
                passed, groups, untried = await runner.process(events, group)
                group = None
                if groups or untried:
                    await self._after_failure(position, events, passed, groups, untried, completion, retries)
                    if not untried:
                        return
                    events = untried  # a loop, since a document may alternate between destinations any number of times
                    continue
                if len(passed) < len(events):
                    kept = {id(event) for event in passed}
                    completion.finish([event for event in events if id(event) not in kept], delivered=False)
                    if not passed:
                        return
                events = passed
                position += 1
        except BaseException:
            retries.interrupt(position, events)
            raise
        completion.finish(events, delivered=True)

    async def _after_failure(
        self,
        position: int,
        events: Sequence[Event],
        passed: Sequence[Event],
        groups: Sequence[RetryGroup],
        untried: Sequence[Event],
        completion: Completion,
        retries: RetryQueue,
    ) -> None:
        going_on = {id(event) for part in (passed, untried, *(group.events for group in groups)) for event in part}
        if finished := [event for event in events if id(event) not in going_on]:
            completion.finish(finished, delivered=False)
        early, late = retries.sort_out(events, passed, groups)
        # Process the passed events before the failed ones: if they fail too, at a later step, the others must wait
        # behind them.
        try:
            if early:
                await self._from(position + 1, early, completion, retries)
        finally:
            for group in groups:
                group.position = position
            for group in retries.add(groups, events):
                group.over()
            for group in groups:
                if group.waiting and group.events:
                    group.breaker.enqueue(partial(_admit, retries, group))
            retries.admit(late, position + 1)


def _admit(retries: RetryQueue, group: RetryGroup, probing: bool) -> bool:
    """Let a group that waits for its destination continue."""
    group.probing = probing
    return retries.release(group)
