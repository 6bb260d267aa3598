"""A serial lane of a pipeline: events leave it in the order in which they enter."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mess.event import Event
from mess.relay.completion import Completion
from mess.relay.group import Group
from mess.relay.pipeline import Pipeline
from mess.relay.retry_queue import RetryQueue
from mess.relay.stopping import Halted, Stopping
from mess.steps.base import MINI_BATCH_BYTES

_LONG = 1.0  # seconds
_LONGEST_REST = 3600.0  # seconds; earlier events wake the lane


class Held(NamedTuple):
    """Unfinished events of a lane that wait for the step at `position` of the `pipeline`.

    They are the events of a failed `group` and those behind it; or, without a group, those that the lane is working on,
    since `began` (`time.monotonic`), and those behind them.
    """

    pipeline: str
    position: int
    events: list[Event]
    group: Group | None = None
    began: float = 0.0


class Lane:
    """Passes its waiting events to the pipeline, one mini-batch at a time.

    It has a task only while events wait. Under load, mini-batches grow on their own; otherwise they are single events.
    An event that is to be retried later lets events with other keys pass. It calls `wants_more` when less than another
    mini-batch is waiting. An error in it stops the relay.
    """

    __slots__ = (
        "_batch",
        "_completion",
        "_pipeline",
        "_resting",
        "_retries",
        "_stopping",
        "_taken_at",
        "_wants_more",
        "_woken",
        "events",
        "task",
    )

    def __init__(
        self,
        pipeline: Pipeline,
        completion: Completion,
        *,
        stopping: Stopping,
        wants_more: Callable[[], None],
    ) -> None:
        self.events: deque[Event] = deque()
        self.task: asyncio.Task[None] | None = None
        self._pipeline = pipeline
        self._completion = completion
        self._stopping = stopping
        self._wants_more = wants_more
        self._retries = RetryQueue(self.wake)
        self._woken = asyncio.Event()
        self._resting = False
        self._taken_at = 0.0
        self._batch: list[Event] = []

    @property
    def full(self) -> bool:
        """Whether another mini-batch is already waiting for it."""
        return len(self.events) >= self._pipeline.mini_batch

    @property
    def held_up(self) -> bool:
        """Whether it is full and has long been processing the same mini-batch, for example because the sink is down."""
        return self.full and time.monotonic() - self._taken_at > _LONG

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return self.task is None or self._resting

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return self._pipeline.name

    def locate(self, event: Event) -> str | None:
        """The step and pipeline where one of the lane's events is held, in words; None for other events."""
        position = self._retries.position_of(event)
        if position is None:
            if event not in self._batch and event not in self.events:
                return None
            position = self._retries.position
        return f"step {self._pipeline.steps[position].name} of pipeline {self._pipeline.name}"

    def waiting(self) -> Iterator[Held]:
        """The unfinished events of the lane, each once, by what they wait for."""
        known: set[int] = set()
        for group, behind in self._retries.waiting():
            events = [event for event in (*group.events, *behind) if not event.done]
            known.update(map(id, events))
            yield Held(self._pipeline.name, group.position, events, group=group)
        taken = {id(event): event for event in (*self._batch, *self._retries.in_hand) if not event.done}
        events = [event for name, event in taken.items() if name not in known]
        if events or self.events:
            yield Held(self._pipeline.name, self._retries.position, [*events, *self.events], began=self._taken_at)

    def wake(self) -> None:
        """Process the events that have been added; called once after a batch of them."""
        if self.task is None:
            self._taken_at = time.monotonic()  # the time it was idle does not count as being held up
            self.task = asyncio.get_running_loop().create_task(self._work())
        else:
            self._woken.set()

    async def _work(self) -> None:
        retries = self._retries
        retried = False  # alternate, since events that keep failing must not keep others from a sink that is down
        try:
            while (self.events or retries) and not self._stopping.is_over():
                if retries and retries.due <= time.monotonic() and not (retried and self.events):
                    retried = True
                    await self._pipeline.retry(self._completion, retries)
                elif self.events:
                    retried = False
                    batch = self._batch = self._take()
                    if not self.full:
                        self._wants_more()
                    await self._pipeline.run(batch, self._completion, retries)
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

    def _take(self) -> list[Event]:
        waiting = self.events
        self._taken_at = time.monotonic()
        if len(waiting) == 1:
            return [waiting.popleft()]
        batch: list[Event] = []
        room, most = MINI_BATCH_BYTES, self._pipeline.mini_batch
        while waiting and len(batch) < most:
            room -= waiting[0].size
            if room < 0 and batch:
                break
            batch.append(waiting.popleft())
        return batch
