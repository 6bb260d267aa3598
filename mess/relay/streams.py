"""The streams of a running relay: opens them where the coverage map says, joins them when they have caught up, and
stops single ones whose history is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from bson import Timestamp

from mess.cancellation import cancel
from mess.capture.arrangement import Arrangement, Recorded, main_stream
from mess.capture.coverage import lookup
from mess.capture.plan import StreamPlan
from mess.capture.source import StoppedSource
from mess.errors import HistoryLost, StateError, Superseded
from mess.event import Namespace
from mess.relay.arranged import ArrangedStreams, OpenStream, Stream
from mess.relay.arranging import written
from mess.relay.carried import Carried
from mess.relay.ha.leading import Leading
from mess.relay.joining import Joining
from mess.relay.lane import Lane
from mess.relay.lost_streams import LostStreams
from mess.relay.runner import StreamRunner
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK = 0.5  # seconds between two checks of a stream that is catching up
_POLL = 0.05  # seconds
_DECISION = 2.0  # seconds between two checks for an operator's decision
_REPEAT = 600.0  # seconds until a stopped stream is reported again


class Streams(ArrangedStreams):
    """Runs an arrangement's streams until the relay stops.

    `oldest`, `leading` and `announce_gaps` are those of `LostStreams`.
    """

    def __init__(
        self,
        plans: Sequence[StreamPlan],
        arrangement: Arrangement,
        store: StateStore,
        open_stream: OpenStream,
        *,
        oldest: Callable[[], Awaitable[Timestamp | None]],
        leading: Leading,
        announce_gaps: bool = False,
    ) -> None:
        super().__init__(arrangement, store, open_stream)
        names = [plan.name for plan in plans]
        self._joining = Joining(self)
        self._lost = LostStreams(
            self,
            store,
            names,
            begin=self._begin,
            oldest=oldest,
            leading=leading,
            announce_gaps=announce_gaps,
        )
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def runners(self) -> list[StreamRunner]:
        """The runners of the streams that have begun."""
        return [stream.runner for stream in self.streams if stream.runner is not None]

    @property
    def sources(self) -> list[Any]:
        """The source of each stream, in the order of `progress`."""
        return [
            StoppedSource(stream.name, stream.stopped)
            if stream.runner is None or stream.stopped is not None
            else stream.runner.source
            for stream in self.streams
        ]

    @property
    def lanes(self) -> list[Lane]:
        """The lanes of all streams."""
        return [lane for runner in self.runners for lane in runner.lanes]

    @property
    def disconnected(self) -> bool:
        """Whether a stream that should be reading has no connection to MongoDB."""
        return any(runner.source.problem is not None for runner in self._reading())

    def covering(self, namespace: Namespace) -> Stream | None:
        """The stream that delivers a collection's changes; None if none does."""
        covered = lookup(self.coverage, namespace)
        return next((each for each in self.streams if covered is not None and each.name == covered.stream), None)

    def _reading(self) -> list[StreamRunner]:
        return [each.runner for each in self.streams if each.runner is not None and each.stopped is None]

    async def connected(self) -> None:
        """Return when every stream that is to be read, and is not paused, has been connected."""
        # Some may stop meanwhile.
        while any(not each.source.connected.is_set() for each in self._reading() if not each.held):  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    async def run(self) -> None:
        """Run until cancelled. Raises HistoryLost if no stream is left, or any other error that ends a stream."""
        for stream in list(self.streams):
            self._begin(stream)
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                self._changed.clear()
                if self._failure is not None:
                    raise self._failure
                if self.streams and all(stream.stopped is not None for stream in self.streams):
                    raise HistoryLost("\n".join(stream.stopped or "" for stream in self.streams))
                await self._changed.wait()
        finally:
            await cancel(watching, *(stream.task for stream in self.streams if stream.task is not None))

    async def close(self) -> None:
        """Close every stream's cursor."""
        await asyncio.gather(*(runner.source.close() for runner in self.runners), return_exceptions=True)

    def divided(self) -> set[str]:
        """The plans of which a part has a stream of its own at present."""
        return {main_stream(stream.name) for stream in self.streams if main_stream(stream.name) != stream.name}

    async def halt(self, plans: Collection[str]) -> list[Stream]:
        """Read the streams of these plans no more, for good; returns them. Call it with `arranging` held."""
        halted = [stream for stream in self.streams if main_stream(stream.name) in plans]
        await cancel(*(stream.task for stream in halted if stream.task is not None))
        runners = [stream.runner for stream in halted if stream.runner is not None]
        await asyncio.gather(*(runner.source.close() for runner in runners), return_exceptions=True)
        return halted

    def reached(self, streams: Collection[Stream]) -> Recorded:
        """The coverage map, and how far these streams are."""
        names = {stream.name for stream in streams}
        recorded = self.recorded()
        return Recorded(recorded.coverage, {name: each for name, each in recorded.reached.items() if name in names})

    def replace(self, halted: Collection[Stream], plans: Sequence[StreamPlan], arrangement: Arrangement) -> None:
        """Read the streams of an arrangement in place of those that were halted, whose lanes have stopped; `plans` are
        those of all streams. Call it with `arranging` held, and the arrangement stored.

        What the halted ones have delivered is not delivered again.
        """
        carried = Carried(self.coverage)
        for stream in halted:
            if (runner := stream.runner) is not None:
                carried.add(stream.name, runner.window, runner.lanes, read=runner.source.position)
                if runner.carried is not None:
                    carried.follow(runner.carried)
        self._lost.plans = [plan.name for plan in plans]
        self.coverage = arrangement.coverage
        for stream in halted:
            self.remove(stream)
        added = [self.add(start) for start in arrangement.starts]
        for runner in self.runners:
            runner.forget_routes()
        for stream in added:
            if stream.runner is not None:
                alike = all(each.start.plan.contents == stream.start.plan.contents for each in halted)
                stream.runner.carry(carried if alike else carried.without_progress())
            self._begin(stream)
        self._changed.set()

    def _begin(self, stream: Stream) -> None:
        if stream.runner is None or stream.task is not None:
            return
        stream.task = asyncio.create_task(self._read(stream, stream.runner))
        if stream.start.joins is not None:
            log.info(
                "stream is catching up",
                stream=stream.name,
                joins=stream.start.joins,
                since=written(stream.start.position.time),
            )

    async def _read(self, stream: Stream, runner: StreamRunner) -> None:
        try:
            await runner.run()
        except HistoryLost as error:
            try:
                await self._lost.history_lost(stream, error)
            except Exception as another:
                self._failure = another
        except Exception as error:
            self._failure = error
        self._changed.set()

    async def _watch(self) -> None:
        """Join streams that have caught up, check for decisions, and repeat warnings."""
        looked = reported = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK)
            try:
                for stream in list(self.streams):
                    await self._joining.join_if_near(stream)
                now = time.monotonic()
                stopped = [stream for stream in self.streams if stream.stopped is not None]
                if stopped and now - looked >= _DECISION:
                    looked = now
                    await self._lost.follow_decisions(stopped)
                if not stopped:
                    reported = now
                elif now - reported >= _REPEAT:
                    reported = now
                    for stream in stopped:
                        log.error("stream is still stopped", stream=stream.name, problem=stream.stopped)
            except Superseded as error:
                self._failure = error
                self._changed.set()
                return
            except StateError as error:
                # Nothing is changed before it is stored, so all of this can be retried.
                log.warning("the state does not respond; retrying", error=str(error))
            except Exception as error:
                self._failure = error
                self._changed.set()
                return
