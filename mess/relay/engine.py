"""Runs everything while the relay runs, and defines the order in which it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Protocol

from mess.cancellation import cancel, within
from mess.errors import StateError, Superseded
from mess.relay.blocked import BlockedStreamLog
from mess.relay.lane import Lane, finish
from mess.relay.pipeline import Pipeline
from mess.relay.runner import StreamRunner
from mess.relay.stopping import Stopping
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LAST_CHECKPOINT_SECONDS = 4.0
"""Enough for a server that is up. Together with the grace period and closing, it stays below a container's usual stop
timeout."""


class RunningStreams(Protocol):
    """The streams of an engine."""

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """All lanes that their events have taken so far."""

    @property
    def disconnected(self) -> bool:
        """Whether a stream that should be reading has no connection to MongoDB."""

    async def run(self) -> None:
        """Read the streams to their ends. Raises the error that prevents that."""

    async def close(self) -> None:
        """Close the cursors."""


class Saver(Protocol):
    """Stores what is done."""

    async def run(self) -> None:
        """Store it from time to time, forever. Raises StateError."""

    async def save(self) -> None:
        """Store it now. Raises StateError."""


class Engine:
    """Runs the streams and the checkpointer until it is stopped, until an error ends it, or until all streams have
    ended. Without a checkpointer, no progress is stored. `began` is set when all pipelines are open."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        checkpointer: Saver | None,
        stopping: Stopping,
        *,
        grace: Callable[[], float],
    ) -> None:
        self._pipelines = pipelines
        self._checkpointer = checkpointer
        self._stopping = stopping
        self._grace = grace
        self.began = asyncio.Event()

    async def run(self, streams: RunningStreams) -> None:
        """Run, then stop gracefully: reading first, then deliveries in flight, the checkpoint last. Raises the error
        that ended it."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for pipeline in self._pipelines.values():
                await pipeline.open()
            tasks = [asyncio.create_task(self._guard(partial(self._read, streams)))]
            for pipeline in self._pipelines.values():
                pipeline.check()
            tasks.append(asyncio.create_task(self._guard(BlockedStreamLog(streams).run)))
            if (checkpointer := self._checkpointer) is not None:
                tasks.append(asyncio.create_task(self._guard(partial(self._checkpoint, checkpointer, streams))))
            self.began.set()
            await self._stopping.wait()
        finally:
            if not self._stopping.is_set():
                self._stopping.set()
            await cancel(*tasks)
            await self._finish_lanes(streams)
            await self._last_checkpoint()
            await streams.close()
            for pipeline in reversed(list(self._pipelines.values())):
                await pipeline.close()
        if self._stopping.failure is not None:
            raise self._stopping.failure

    async def _guard(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        # Not an existing coroutine: a task that is cancelled before it starts would never await it.
        try:
            await work()
        except Exception as error:
            self._stopping.fail(error)

    async def _read(self, streams: RunningStreams) -> None:
        try:
            await streams.run()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        self._stopping.set()

    async def _checkpoint(self, checkpointer: Saver, streams: RunningStreams) -> None:
        while True:
            try:
                await checkpointer.run()
            except Superseded:
                raise
            except StateError as error:
                # Without MongoDB there is nothing to deliver: the streams wait for it, and so does this.
                if not streams.disconnected:
                    raise
                log.warning("progress will be stored as soon as MongoDB is back", error=str(error))

    async def _finish_lanes(self, streams: RunningStreams) -> None:
        if late := await finish(streams.lanes, self._grace()):
            log.warning("deliveries did not finish in time; they will be repeated after the next start", count=late)

    async def _last_checkpoint(self) -> None:
        if self._checkpointer is None or isinstance(self._stopping.failure, StateError):
            return
        try:
            await within(_LAST_CHECKPOINT_SECONDS, self._checkpointer.save())
        except TimeoutError:
            message = "the last checkpoint could not be stored in time; its events will be delivered again"
            self._stopping.fail(StateError(message))
        except StateError as error:
            self._stopping.fail(error)
