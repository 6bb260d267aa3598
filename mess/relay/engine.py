"""Everything that runs while the relay runs, and the order in which it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from mess.errors import StateError, Superseded
from mess.relay.blocked import BlockedStreamLog
from mess.relay.checkpointer import Checkpointer
from mess.relay.pipeline import Pipeline
from mess.relay.runner import StreamRunner
from mess.relay.stopping import Stopping
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LAST_CHECKPOINT_SECONDS = 4.0
"""Enough for a server that lives; with the grace and the closing it stays below a container's usual stop timeout."""


class Engine:
    """Runs the streams' runners and the checkpointer until it is told to stop, until something cannot go on, or until
    all streams have come to their ends. Without a checkpointer, no progress is recorded.
    """

    def __init__(
        self,
        runners: Sequence[StreamRunner],
        pipelines: Sequence[Pipeline],
        checkpointer: Checkpointer | None,
        stopping: Stopping,
        grace: float,
    ) -> None:
        self._runners = runners
        self._pipelines = pipelines
        self._checkpointer = checkpointer
        self._stopping = stopping
        self._grace = grace
        self._failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Stop because of an error, which `run` raises when all is closed; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._stopping.set()

    async def run(self) -> None:
        """Run, then stop in order: reading first, then what is in flight, the checkpoint last. Raises what failed."""
        tasks: list[asyncio.Task[None]] = []
        opened: list[Pipeline] = []
        try:
            for pipeline in self._pipelines:
                opened.append(pipeline)
                await pipeline.open()
            readers = [asyncio.create_task(self._guard(runner.run)) for runner in self._runners]
            tasks = [*readers, asyncio.create_task(self._stop_after(readers))]
            for pipeline in self._pipelines:
                tasks += [asyncio.create_task(self._guard(stage.check)) for stage in pipeline.stages]
            tasks.append(asyncio.create_task(self._guard(BlockedStreamLog(self._runners).run)))
            if (checkpointer := self._checkpointer) is not None:
                tasks.append(asyncio.create_task(self._guard(partial(self._checkpoint, checkpointer))))
            await self._stopping.wait()
        finally:
            if not self._stopping.is_set():
                self._stopping.set()
            await _cancel(tasks)
            await self._finish_lanes()
            await self._last_checkpoint()
            await asyncio.gather(*(runner.source.close() for runner in self._runners), return_exceptions=True)
            for pipeline in reversed(opened):
                await pipeline.close()
        if self._failure is not None:
            raise self._failure

    async def _guard(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        # Not a coroutine that is there already: a task that is cancelled before it begins would never await it.
        try:
            await work()
        except Exception as error:
            self.fail(error)

    async def _stop_after(self, readers: Sequence[asyncio.Task[None]]) -> None:
        await asyncio.wait(readers)
        self._stopping.set()

    async def _checkpoint(self, checkpointer: Checkpointer) -> None:
        while True:
            try:
                await checkpointer.run()
            except Superseded:
                raise
            except StateError as error:
                # With MongoDB away there is nothing to deliver either: the streams wait for it, and so does this.
                if all(runner.source.problem is None for runner in self._runners):
                    raise
                log.warning("progress is recorded as soon as MongoDB is back", error=str(error))

    async def _finish_lanes(self) -> None:
        busy = [lane.task for runner in self._runners for lane in runner.lanes() if lane.task is not None]
        if not busy:
            return
        _, late = await asyncio.wait(busy, timeout=self._grace)
        if late:
            log.warning("deliveries did not end in time; they are made again after the next start", count=len(late))
            await _cancel(list(late))

    async def _last_checkpoint(self) -> None:
        if self._checkpointer is None or isinstance(self._failure, StateError):
            return
        try:
            async with asyncio.timeout(_LAST_CHECKPOINT_SECONDS):
                await self._checkpointer.save()
        except TimeoutError:
            self.fail(StateError("the last checkpoint could not be stored in time; what it covers is delivered again"))
        except StateError as error:
            self.fail(error)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
