"""Moves one stream's events from its source to its lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mess.capture.source import Batch, Source
from mess.relay.dispatch import Dispatcher
from mess.relay.lane import Lane
from mess.relay.window import Window
from mess.telemetry.observer import StreamObserver


class FixedStreams:
    """Streams that each have an end, run concurrently."""

    disconnected = False

    def __init__(self, runners: Sequence[StreamRunner]) -> None:
        self.runners = list(runners)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes of all streams."""
        return [lane for runner in self.runners for lane in runner.lanes()]

    async def run(self) -> None:
        """Return when all streams have ended. Raises SourceError if one cannot be read any more."""
        async with asyncio.TaskGroup() as group:
            for runner in self.runners:
                group.create_task(runner.run())

    async def close(self) -> None:
        """Close every stream's cursor."""
        await asyncio.gather(*(runner.source.close() for runner in self.runners), return_exceptions=True)


class StreamRunner:
    """Reads batch after batch and dispatches each; the source itself reads ahead meanwhile.

    `report` records what a batch reports besides its events, before the position after it is stored. `began` is set
    when something has been read; `finished` is set when the source has ended, and all its events are done. `name` is
    the stream's.
    """

    def __init__(
        self,
        source: Source,
        window: Window,
        dispatcher: Dispatcher,
        lanes: Callable[[], Sequence[Lane]],
        report: Callable[[Batch], Awaitable[None]],
        observer: StreamObserver,
        name: str = "",
    ) -> None:
        self.name = name
        self.source = source
        self.window = window
        self.lanes = lanes
        self._dispatcher = dispatcher
        self._report = report
        self._observer = observer
        self.finished = False
        self.began = False
        self._running = asyncio.Event()
        self._running.set()
        self._paused = asyncio.Event()

    def pause(self) -> None:
        """Ask it to stop reading; `paused` returns when it has dispatched what it has read."""
        self._running.clear()

    async def paused(self) -> None:
        """Wait until it has paused."""
        await self._paused.wait()

    def resume(self) -> None:
        """Let it continue reading."""
        self._paused.clear()
        self._running.set()

    def forget_routes(self) -> None:
        """Ask again where each namespace's events go."""
        self._dispatcher.forget_routes()

    async def run(self) -> None:
        """Run until cancelled, or to the source's end. Raises SourceError if it cannot be read any more."""
        while True:
            if not self._running.is_set():
                self._paused.set()
                await self._running.wait()
            batch = await self.source.read()
            if batch is None:
                break
            self.began = True
            if batch.unreadable or batch.lost:
                await self._report(batch)
            self._observer.read(batch.events)
            await self._dispatcher.dispatch(batch)
        await self.window.drained()
        self.finished = True
