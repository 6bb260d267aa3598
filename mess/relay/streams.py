"""The streams of a running relay: opens them where the coverage map says, joins them when they have caught up, and
stops single ones whose history is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from bson import Timestamp

from mess.cancellation import cancel
from mess.capture.arrangement import Arrangement, Begin, Lost, Reached, Recorded, StreamStart, divide, main_stream
from mess.capture.coverage import NEVER, Coverage, Covered, Rule, lookup, simplify
from mess.capture.plan import StreamPlan
from mess.capture.region import Region
from mess.capture.source import StoppedSource
from mess.capture.tokens import has_passed, position_after
from mess.errors import HistoryLost, StateError, Superseded
from mess.event import Namespace, Position
from mess.options.backoff import backoff
from mess.relay.arranging import open_gap, store_arrangement, why_stopped, written
from mess.relay.carried import Carried
from mess.relay.checkpointer import Progress
from mess.relay.lane import Lane
from mess.relay.leading import Leading
from mess.relay.router import Claim
from mess.relay.runner import StreamRunner
from mess.relay.window import Window
from mess.state.store import Gap, StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK = 0.5  # seconds between two checks of a stream that is catching up
_POLL = 0.05  # seconds
_NEAR = 2  # seconds of cluster time within which it may join
_REPLY = 6.0  # seconds; an idle stream's reply takes up to five
_JOIN = 0.5  # seconds for which the other stream may be held up
_JOIN_AGAIN = 30.0  # maximum seconds between two attempts to join
_DECISION = 2.0  # seconds between two checks for an operator's decision
_REPEAT = 600.0  # seconds until a stopped stream is reported again


class OpenStream(Protocol):
    """Creates the runner that reads a stream and delivers the events selected by `claim`."""

    def __call__(self, start: StreamStart, claim: Claim) -> StreamRunner: ...


@dataclass(slots=True, eq=False)
class Stream:
    """A stream of the relay. `stopped` says why it is no longer read; `runner` is None if it never began. `joins_at` is
    when it may next try to join the one that it is catching up with (`time.monotonic`), after `failed_joins`."""

    start: StreamStart
    progress: Progress
    runner: StreamRunner | None = None
    task: asyncio.Task[None] | None = None
    stopped: str | None = None
    joins_at: float = 0.0
    failed_joins: int = 0

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.start.name

    @property
    def waits(self) -> str | None:
        """Why existing documents cannot be merged into it at present: changes come first."""
        if self.stopped is None and self.start.joins is not None:
            return f"it is still catching up with stream {self.start.joins}"
        return self.stopped


class Streams:
    """Runs an arrangement's streams until the relay stops.

    `oldest` asks MongoDB for the cluster time of its oldest change, None if it does not say. `announce_gaps` is whether
    receivers are to be told of the gaps. What a stream lost is recorded as soon as `leading` returns: a process that
    was frozen for long may miss what another has delivered. `arranging` is held while the coverage map changes, from
    the computation of a new one until it is in force, so that none overwrites another.
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
        self._leading = leading
        self._announce_gaps = announce_gaps
        self._plans = {plan.name: plan for plan in plans}
        self._coverage = arrangement.coverage
        self._store = store
        self._open = open_stream
        self._oldest = oldest
        self.streams: list[Stream] = []
        self.progress: list[Progress] = []
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self.arranging = asyncio.Lock()
        for start in arrangement.starts:
            self._add(start)

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
        covered = lookup(self._coverage, namespace)
        return next((each for each in self.streams if covered is not None and each.name == covered.stream), None)

    def since(self, namespace: Namespace) -> Timestamp | None:
        """The cluster time from which a collection's changes are delivered; None if they are not."""
        return self._since(namespace)

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
        recorded = self._recorded()
        return Recorded(recorded.coverage, {name: each for name, each in recorded.reached.items() if name in names})

    def positions(self, without: Collection[Stream]) -> dict[str, tuple[str, Position]]:
        """The plan's hash and the position of all other streams that have begun."""
        reached = self._recorded().reached
        others = [stream.name for stream in self.streams if stream.runner is not None and stream not in without]
        return {name: (reached[name].plan, reached[name].position) for name in others}

    def replace(self, halted: Collection[Stream], plans: Sequence[StreamPlan], arrangement: Arrangement) -> None:
        """Read the streams of an arrangement in place of those that were halted, whose lanes have stopped; `plans` are
        those of all streams. Call it with `arranging` held, and the arrangement stored.

        What the halted ones have delivered is not delivered again.
        """
        carried = Carried(self._coverage)
        for stream in halted:
            if (runner := stream.runner) is not None:
                carried.add(stream.name, runner.window, runner.lanes, read=runner.source.position)
                if runner.carried is not None:
                    carried.follow(runner.carried)
        self._plans = {plan.name: plan for plan in plans}
        self._coverage = arrangement.coverage
        for stream in halted:
            self._remove(stream)
        added = [self._add(start) for start in arrangement.starts]
        for runner in self.runners:
            runner.forget_routes()
        for stream in added:
            if stream.runner is not None:
                alike = all(each.start.plan.contents == stream.start.plan.contents for each in halted)
                stream.runner.carry(carried if alike else carried.without_progress())
            self._begin(stream)
        self._changed.set()

    def _add(self, start: StreamStart) -> Stream:
        window = Window(1, 1, position_after)
        runner = None
        if not start.waits:
            runner = self._open(start, self._claim(start.name))
            window = runner.window
        progress = Progress(stream=start.name, plan=start.plan.hash, window=window, saved=start.position)
        stream = Stream(start, progress, runner)
        if start.waits:
            stream.stopped = why_stopped(start.name, start.position)
        self.streams.append(stream)
        self.progress.append(progress)
        return stream

    def _remove(self, stream: Stream) -> None:
        self.streams.remove(stream)
        self.progress.remove(stream.progress)

    def _claim(self, stream: str) -> Claim:
        def regions() -> list[Region]:
            return [rule.region for rule in self._coverage if rule.value.stream == stream]

        return Claim(partial(self._since, stream=stream), self._since, regions)

    def _since(self, namespace: Namespace, stream: str | None = None) -> Timestamp | None:
        covered = lookup(self._coverage, namespace)
        return covered.time if covered is not None and stream in (None, covered.stream) else None

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
                await self._history_lost(stream, error)
            except Exception as another:
                self._failure = another
        except Exception as error:
            self._failure = error
        self._changed.set()

    async def _history_lost(self, stream: Stream, error: HistoryLost) -> None:
        await self._leading()
        runner = stream.runner
        position = runner.source.position if runner is not None else stream.start.position
        if runner is None or not runner.began:
            oldest = await self._oldest()
            just_behind = _next(position.time)
            before = just_behind if oldest is None else max(oldest, just_behind)
            async with self.arranging:
                if await self._divide(stream, Lost(before), error):
                    return
        stream.stopped = why_stopped(stream.name, position)
        await self._record_open_gap(stream, error)

    async def _divide(self, stream: Stream, lost: Lost, error: HistoryLost) -> bool:
        """Continue with those of a stream's namespaces that are further on, and whose changes still exist; False if
        there are none."""
        divided = self._divided(stream.start.plan, lost)
        if all(start.waits for start in divided.starts):
            return False
        if stream.runner is not None:
            await stream.runner.source.close()
        self._remove(stream)
        self._coverage = divided.coverage
        main = main_stream(stream.name)
        joins = main if stream.start.joins is not None else None
        added = [self._add(replace(start, joins=joins if start.joins is None else main)) for start in divided.starts]
        await self._store_arrangement(self._coverage)
        for each in added:
            if each.stopped is not None:
                await self._record_open_gap(each, error)
            self._begin(each)
        return True

    def _divided(self, plan: StreamPlan, lost: Lost) -> Arrangement:
        begin = Begin(Timestamp(2**32 - 1, 0))  # nothing of it is new any more
        return divide(plan, self._recorded().folded(), {}, begin, lost, taken=[each.name for each in self.streams])

    async def _record_open_gap(self, stream: Stream, error: BaseException | None = None) -> None:
        # What was read but not delivered is skipped too, in case the relay ends meanwhile.
        position = stream.progress.window.position or stream.start.position
        await open_gap(self._store, stream.name, position, self._coverage, announce=self._announce_gaps)
        log.error("stream stopped", stream=stream.name, problem=stream.stopped)
        if error is not None:
            log.debug("MongoDB's answer", stream=stream.name, error=str(error))

    async def _watch(self) -> None:
        """Join streams that have caught up, check for decisions, and repeat warnings."""
        looked = reported = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK)
            try:
                for stream in list(self.streams):
                    await self._join_if_near(stream)
                now = time.monotonic()
                stopped = [stream for stream in self.streams if stream.stopped is not None]
                if stopped and now - looked >= _DECISION:
                    looked = now
                    await self._follow_decisions(stopped)
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

    async def _follow_decisions(self, stopped: Sequence[Stream]) -> None:
        decided = {gap.stream: gap for gap in await self._store.gaps() if gap.open and gap.resume is not None}
        for stream in stopped:
            gap = decided.get(stream.name)
            if gap is not None and gap.resume is not None:
                await self._resume(stream, gap, gap.resume)

    async def _resume(self, stream: Stream, gap: Gap, at: Timestamp) -> None:
        if stream.runner is not None:
            if len(stream.runner.window):
                return  # what it has already read is delivered first
            await stream.runner.source.close()
        main = main_stream(stream.name)
        joins = main if main != stream.name and main in self._plans else None
        position = Position(None, at)
        async with self.arranging:
            if stream not in self.streams:
                return
            coverage = self._moved(stream, Covered(stream.name, at))
            await self._store_arrangement(coverage, {stream.name: (stream.start.plan.hash, position)}, without=stream)
            await self._store.close_gap(gap, at)
            self._remove(stream)
            self._coverage = coverage
            resumed = self._add(StreamStart(stream.start.plan, position, joins=joins))
        log.info("stream continues", stream=stream.name, since=written(at))
        self._begin(resumed)

    async def _join_if_near(self, stream: Stream) -> None:
        main = next((each for each in self.streams if each.name == stream.start.joins), None)
        if main is None or main.stopped or stream.stopped or main.runner is None or stream.runner is None:
            return
        done, read = stream.progress.window.position, main.runner.source.position
        if done is None or done.time is None or read.time is None or done.time.time + _NEAR < read.time.time:
            return
        if time.monotonic() < stream.joins_at or self.arranging.locked():  # by a reload, which may take seconds
            return
        main.runner.pause()
        try:
            if not await self._is_past(stream, main):
                # Its sink may be slow: the other stream must not be held up repeatedly.
                stream.failed_joins += 1
                stream.joins_at = time.monotonic() + backoff(
                    stream.failed_joins, first=_LOOK, multiplier=2, cap=_JOIN_AGAIN
                )
            else:
                try:
                    await self._join(stream, main)
                except BaseException:
                    stream.runner.resume()
                    raise
        finally:
            main.runner.resume()

    async def _is_past(self, stream: Stream, main: Stream) -> bool:
        """Whether a stream is done with every change that has been read by the stream it joins; continues reading if
        not."""
        assert main.runner is not None
        assert stream.runner is not None
        try:
            async with asyncio.timeout(_REPLY):
                await main.runner.paused()
            deadline = time.monotonic() + _JOIN
            target = main.runner.source.position
            while time.monotonic() < deadline:
                done = stream.progress.window.position
                if done is not None and has_passed(done, target):
                    stream.runner.pause()
                    async with asyncio.timeout(_JOIN):
                        await stream.runner.paused()
                        await stream.runner.window.drained()
                    return True
                await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        stream.runner.resume()
        return False

    async def _join(self, stream: Stream, main: Stream) -> None:
        assert main.runner is not None
        assert stream.runner is not None
        done = stream.progress.window.position
        assert done is not None
        async with self.arranging:
            if stream not in self.streams or main not in self.streams:
                return
            coverage = self._moved(stream, Covered(main.name, done.time))
            await self._store_arrangement(coverage, without=stream)
            self._coverage = coverage
            self._remove(stream)
            main.runner.forget_routes()
        if stream.task is not None:
            await cancel(stream.task)
        await stream.runner.source.close()
        log.info("stream has caught up", stream=stream.name, joins=main.name, at=written(done.time))

    def _recorded(self) -> Recorded:
        reached = {
            stream.name: Reached(stream.progress.plan, stream.progress.window.position or stream.start.position)
            for stream in self.streams
        }
        return Recorded(self._coverage, reached)

    def _moved(self, stream: Stream, covered: Covered) -> Coverage:
        """The coverage map with everything that a stream covers set to `covered`."""
        return tuple(
            Rule(rule.region, covered) if rule.value.stream == stream.name else rule for rule in self._coverage
        )

    async def _store_arrangement(
        self,
        coverage: Coverage,
        positions: dict[str, tuple[str, Position]] | None = None,
        *,
        without: Stream | None = None,
    ) -> None:
        """Store a coverage map with the positions of all streams but one, and `positions` in addition."""
        found = self.positions(() if without is None else (without,))
        reached = self._recorded().reached
        folded = Recorded(coverage, {name: reached[name] for name in found}).folded()
        await store_arrangement(self._store, simplify(folded, NEVER), {**found, **(positions or {})})


def _next(time: Timestamp | None) -> Timestamp:
    return Timestamp(0, 1) if time is None else Timestamp(time.time, time.inc + 1)
