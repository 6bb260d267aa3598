"""A serial lane of a pipeline: events leave it in the order in which they enter."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from mess.cancellation import cancel
from mess.event import Event
from mess.relay.completion import Completion
from mess.relay.pipeline import Pipeline
from mess.relay.retry_group import RetryGroup
from mess.relay.retry_queue import RetryQueue
from mess.relay.stopping import Halted, Stopping
from mess.steps.base import MINI_BATCH_BYTES

_LONG = 1.0  # seconds
_LONGEST_REST = 3600.0  # seconds; earlier events wake the lane


class Held(NamedTuple):
    """Unfinished events of a lane that wait for a `step` of the `pipeline`.

    They are the events of a failed `group` and those behind it; or, without a group, those that the lane is working on,
    since `began` (`time.monotonic`), and those behind them.
    """

    pipeline: str
    step: str
    events: list[Event]
    group: RetryGroup | None = None
    began: float = 0.0


class Lane:
    """Passes its waiting events to the pipeline, one mini-batch at a time.

    It has a task only while events wait. Under load, mini-batches grow on their own; otherwise they are single events.
    An event that is to be retried later lets events with other keys pass. It calls `wants_more` when less than another
    mini-batch is waiting. An error in it stops the relay.
    """

    __slots__ = (
        "_advanced",
        "_batch",
        "_completion",
        "_resting",
        "_retries",
        "_stopping",
        "_taken_at",
        "_wants_more",
        "_woken",
        "events",
        "pipeline",
        "task",
    )

    def __init__(self, pipeline: Pipeline, completion: Completion, *, wants_more: Callable[[], None]) -> None:
        self.events: deque[Event] = deque()
        self.task: asyncio.Task[None] | None = None
        self.pipeline = pipeline
        self._completion = completion
        self._stopping = Stopping(pipeline.stopping)
        self._wants_more = wants_more
        self._retries = RetryQueue(self.wake)
        self._woken = asyncio.Event()
        self._resting = False
        self._taken_at = 0.0
        self._batch: list[Event] = []
        self._advanced: dict[int, int] = {}

    @property
    def full(self) -> bool:
        """Whether another mini-batch is already waiting for it."""
        return len(self.events) >= self.pipeline.mini_batch

    @property
    def held_up(self) -> bool:
        """Whether it is full and has long been processing the same mini-batch, for example because the sink is down."""
        return self.full and time.monotonic() - self._taken_at > _LONG

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return (self.task is None and not self.pipeline.held) or self._resting

    def locate(self, event: Event) -> str | None:
        """The step and pipeline where one of the lane's events is held, in words; None for other events."""
        position = self._retries.position_of(event)
        if position is None:
            if event not in self._batch and event not in self.events:
                return None
            position = self._retries.position
        return f"step {self.pipeline.steps[position].name} of pipeline {self.pipeline.name}"

    def put_first(self, events: Sequence[tuple[int, Event]]) -> None:
        """Add events from a lane that has stopped, in front of all that wait: each with the position of its next step.
        Needs a `wake`."""
        for position, event in reversed(events):
            self.events.appendleft(event)
            self.advance(event, position)

    def advance(self, event: Event, position: int) -> None:
        """Let an event that waits begin at the step at `position`: it has been through those before."""
        if position:
            self._advanced[id(event)] = position

    def unfinished(self) -> Iterator[tuple[int, Event]]:
        """The events that it still has after it has stopped, each with the position of its next step. Not in their
        order."""
        yield from self._retries.unfinished()
        yield from ((self._advanced.get(id(event), 0), event) for event in self.events)

    def waiting(self) -> Iterator[Held]:
        """The unfinished events of the lane, each once, by what they wait for."""
        known: set[int] = set()
        for group, behind in self._retries.waiting():
            events = [event for event in (*group.events, *behind) if not event.done]
            known.update(map(id, events))
            yield Held(self.pipeline.name, self.pipeline.steps[group.position].name, events, group=group)
        taken = {id(event): event for event in (*self._batch, *self._retries.in_hand) if not event.done}
        events = [event for name, event in taken.items() if name not in known]
        if events or self.events:
            step = self.pipeline.steps[self._retries.position].name
            yield Held(self.pipeline.name, step, [*events, *self.events], began=self._taken_at)

    def wake(self) -> None:
        """Process the events that have been added; called once after a batch of them."""
        if self.pipeline.held:
            return
        if self.task is None:
            self._taken_at = time.monotonic()  # the time it was idle does not count as being held up
            self.task = asyncio.get_running_loop().create_task(self._work())
        else:
            self._woken.set()

    def stop(self) -> None:
        """Begin no more deliveries: its stream goes to another process."""
        self._stopping.set()

    def discard(self) -> None:
        """Forget what it has not finished, once its deliveries have ended after `stop`."""
        self.events.clear()
        self._retries.discard()

    async def _work(self) -> None:
        retries = self._retries
        retried = False  # alternate, since events that keep failing must not keep others from a sink that is down
        try:
            while (self.events or retries) and not self._stopping.is_over():
                if retries and retries.due <= time.monotonic() and not (retried and self.events):
                    retried = True
                    await self.pipeline.retry(self._completion, retries)
                elif self.events:
                    retried = False
                    position = self._advanced.get(id(self.events[0]), 0) if self._advanced else 0
                    batch = self._batch = self._take(position)
                    if not self.full:
                        self._wants_more()
                    await self.pipeline.run(batch, self._completion, retries, position=position)
                else:
                    await self._rest(retries.due - time.monotonic())
        except Halted:
            pass
        except Exception as error:
            self._stopping.fail(error)
            return
        finally:
            self.task = None

    async def _rest(self, seconds: float) -> None:
        self._woken.clear()
        self._resting = True
        try:
            await self._stopping.pause(min(seconds, _LONGEST_REST), self._woken)
        finally:
            self._resting = False

    def _take(self, position: int) -> list[Event]:
        """The next mini-batch, of events that all begin at the step at `position`."""
        waiting = self.events
        self._taken_at = time.monotonic()
        if len(waiting) == 1 and not self._advanced:
            return [waiting.popleft()]
        batch: list[Event] = []
        room, most = MINI_BATCH_BYTES, self._alike(position) if self._advanced else self.pipeline.mini_batch
        while waiting and len(batch) < most:
            room -= waiting[0].size
            if room < 0 and batch:
                break
            batch.append(waiting.popleft())
        if self._advanced:
            for event in batch:
                self._advanced.pop(id(event), None)
        return batch

    def _alike(self, position: int) -> int:
        """How many events from the first on begin at the step at `position`, up to a mini-batch."""
        first = islice(self.events, self.pipeline.mini_batch)
        return sum(1 for _ in takewhile(lambda event: self._advanced.get(id(event), 0) == position, first))


async def finish(lanes: Iterable[Lane], grace: float) -> int:
    """Wait until lanes that have been told to stop are done with their deliveries in flight; cancel those that take
    longer than `grace` seconds. Returns how many were cancelled."""
    busy = [lane.task for lane in lanes if lane.task is not None]
    if not busy:
        return 0
    _, late = await asyncio.wait(busy, timeout=grace)
    await cancel(*late)
    return len(late)
