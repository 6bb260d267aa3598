"""Moves one stream's events from its source to its lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from mess.capture.source import Batch, Source
from mess.relay.carried import Carried
from mess.relay.completion import Completion
from mess.relay.dispatch import Dispatcher, Router
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.router import LaneGroups
from mess.relay.window import Window
from mess.telemetry.observer import StreamObserver

_JOIN, _OPERATOR = "join", "operator"


class FixedStreams:
    """Streams that each have an end, run concurrently."""

    disconnected = False

    def __init__(self, runners: Sequence[StreamRunner]) -> None:
        self.runners = list(runners)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes of all streams."""
        return [lane for runner in self.runners for lane in runner.lanes]

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

    `report` records what a batch reports besides its events, before the position after it is stored, and returns the
    batch that is to be delivered. `began` is set
    when something has been read; `finished` is set when the source has ended, and all its events are done.
    """

    def __init__(
        self,
        source: Source,
        window: Window,
        dispatcher: Dispatcher,
        groups: LaneGroups,
        *,
        report: Callable[[Batch], Awaitable[Batch]],
        observer: StreamObserver,
    ) -> None:
        self.source = source
        self.window = window
        self._dispatcher = dispatcher
        self._groups = groups
        self._report = report
        self._observer = observer
        self.finished = False
        self.began = False
        self._holds: set[str] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._paused = asyncio.Event()

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.source.name

    @property
    def lanes(self) -> Sequence[Lane]:
        """All lanes that its events have taken so far."""
        return [*self._groups.lanes, *self._groups.retired]

    @property
    def held(self) -> bool:
        """Whether an operator has paused it."""
        return _OPERATOR in self._holds

    def hold(self, *, held: bool) -> None:
        """Pause it for an operator, or end that pause. What it has read is delivered."""
        if held:
            self.pause(_OPERATOR)
        else:
            self.resume(_OPERATOR)

    def pause(self, reason: str = _JOIN) -> None:
        """Ask it to stop reading; `paused` returns when it has dispatched what it has read. There may be several
        reasons; it continues when none is left."""
        self._holds.add(reason)
        self._running.clear()

    async def paused(self) -> None:
        """Wait until it has paused."""
        await self._paused.wait()

    def resume(self, reason: str = _JOIN) -> None:
        """Let it continue reading."""
        self._holds.discard(reason)
        if not self._holds:
            self._paused.clear()
            self._running.set()

    def forget_routes(self) -> None:
        """Ask again where each namespace's events go."""
        self._dispatcher.forget_routes()

    def retire(self, pipelines: Collection[str]) -> Sequence[Lane]:
        """Give these pipelines new lanes, and ask again where each namespace's events go. Returns the old lanes, which
        get no more events."""
        self._groups.retire(pipelines)
        self._dispatcher.forget_routes()
        self._dispatcher.wants_more()
        return self._groups.retired

    def resume_retired(self) -> None:
        """Move what the old lanes, which have stopped, have not finished into the new ones, which must not have
        begun."""
        self._dispatcher.resume(self._groups.retired)
        self._groups.retired.clear()

    @property
    def carried(self) -> Carried | None:
        """What it has been given by `carry`, until nothing of it is left."""
        return self._dispatcher.carried

    def carry(self, carried: Carried) -> None:
        """Deliver nothing again that is `carried` over from streams that were arranged anew."""
        self._dispatcher.carried = carried

    def wake(self) -> None:
        """Let lanes that have collected events begin."""
        for lane in self._groups.lanes:
            if lane.task is None and lane.events:
                lane.wake()

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
            batch = await self._report(batch)
            self._observer.read(batch.events)
            await self._dispatcher.dispatch(batch)
        await self.window.drained()
        self.finished = True


def stream_runner(
    source: Source,
    window: Window,
    *,
    completions: Mapping[str, Completion],
    router: Callable[[LaneGroups], Router],
    report: Callable[[Batch], Awaitable[Batch]],
    observer: StreamObserver,
) -> StreamRunner:
    """The runner that reads `source` into the lanes that `router` chooses among those it is given; `completions` are
    those of the pipelines, by name. An error in a lane stops everything."""

    def lane(pipeline: Pipeline) -> Lane:
        return Lane(pipeline, completions[pipeline.name], wants_more=dispatcher.wants_more)

    groups = LaneGroups(lane, window.max_events)
    dispatcher = Dispatcher(window, router(groups))
    return StreamRunner(source, window, dispatcher, groups, report=report, observer=observer)
