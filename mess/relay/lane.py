"""One serial line of a pipeline: what goes in first is finished first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mess.event import Event
from mess.relay.pipeline import Done, Pipeline
from mess.relay.stopping import Halted, Stopping
from mess.step import MINI_BATCH_BYTES


class Lane:
    """Hands the events that wait for it to the pipeline, a mini-batch at a time.

    It has a task only while events wait: under load mini-batches are large by themselves, when quiet they are single
    events. `hungry` is called when less than a further mini-batch waits, `failed` with what ends a lane for good.
    """

    __slots__ = ("_done", "_failed", "_hungry", "_pipeline", "_stopping", "events", "task")

    def __init__(
        self,
        pipeline: Pipeline,
        done: Done,
        *,
        stopping: Stopping,
        hungry: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.events: deque[Event] = deque()
        self.task: asyncio.Task[None] | None = None
        self._pipeline = pipeline
        self._done = done
        self._stopping = stopping
        self._hungry = hungry
        self._failed = failed

    @property
    def sated(self) -> bool:
        """Whether a further mini-batch waits for it already."""
        return len(self.events) >= self._pipeline.mini_batch

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return self.task is None

    def wake(self) -> None:
        """See to the events that have been put in; called once after a batch of them."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self.events and not self._stopping.is_over():
                batch = self._take()
                if not self.sated:
                    self._hungry()
                await self._pipeline.run(batch, self._done)
        except Halted:
            pass
        except Exception as error:
            self._failed(error)
            return
        finally:
            self.task = None

    def _take(self) -> list[Event]:
        waiting = self.events
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
