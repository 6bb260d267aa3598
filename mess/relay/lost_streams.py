"""Streams whose history is lost: what of them can continue, and the decisions that the others wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from bson import Timestamp

from mess.capture.arrangement import Arrangement, Begin, Lost, StreamStart, divide, main_stream
from mess.capture.coverage import Covered
from mess.capture.plan import StreamPlan
from mess.errors import HistoryLost
from mess.event import Position
from mess.relay.arranged import ArrangedStreams, Stream
from mess.relay.arranging import open_gap, why_stopped, written
from mess.relay.ha.leading import Leading
from mess.state.store import Gap, StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")


class LostStreams:
    """Handles streams of `arranged` whose history is lost.

    `plans` are the names of all plans. `begin` reads a stream that was added. `oldest` asks MongoDB for the cluster
    time of its oldest change, None if it does not say. What a stream lost is recorded as soon as `leading` returns: a
    process that was frozen for long may miss what another has delivered. `announce_gaps` is whether receivers are to be
    told of the gaps.
    """

    def __init__(
        self,
        arranged: ArrangedStreams,
        store: StateStore,
        plans: Collection[str],
        *,
        begin: Callable[[Stream], None],
        oldest: Callable[[], Awaitable[Timestamp | None]],
        leading: Leading,
        announce_gaps: bool,
    ) -> None:
        self._arranged = arranged
        self._store = store
        self.plans = plans
        self._begin = begin
        self._oldest = oldest
        self._leading = leading
        self._announce_gaps = announce_gaps

    async def history_lost(self, stream: Stream, error: HistoryLost) -> None:
        """A stream cannot be read on: continue with those of its namespaces that are further on, or let it wait for a
        decision. Raises StateError."""
        await self._leading()
        runner = stream.runner
        position = runner.source.position if runner is not None else stream.start.position
        if runner is None or not runner.began:
            oldest = await self._oldest()
            just_behind = _next(position.time)
            before = just_behind if oldest is None else max(oldest, just_behind)
            async with self._arranged.arranging:
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
        self._arranged.remove(stream)
        self._arranged.coverage = divided.coverage
        main = main_stream(stream.name)
        joins = main if stream.start.joins is not None else None
        added = [
            self._arranged.add(replace(start, joins=joins if start.joins is None else main)) for start in divided.starts
        ]
        await self._arranged.store(self._arranged.coverage)
        for each in added:
            if each.stopped is not None:
                await self._record_open_gap(each, error)
            self._begin(each)
        return True

    def _divided(self, plan: StreamPlan, lost: Lost) -> Arrangement:
        begin = Begin(Timestamp(2**32 - 1, 0))  # nothing of it is new any more
        return divide(
            plan,
            self._arranged.recorded().folded(),
            {},
            begin,
            lost,
            taken=[each.name for each in self._arranged.streams],
        )

    async def _record_open_gap(self, stream: Stream, error: BaseException | None = None) -> None:
        # What was read but not delivered is skipped too, in case the relay ends meanwhile.
        position = stream.progress.window.position or stream.start.position
        await open_gap(self._store, stream.name, position, self._arranged.coverage, announce=self._announce_gaps)
        log.error("stream stopped", stream=stream.name, problem=stream.stopped)
        if error is not None:
            log.debug("MongoDB's answer", stream=stream.name, error=str(error))

    async def follow_decisions(self, stopped: Sequence[Stream]) -> None:
        """Continue those of the stopped streams for which an operator has decided. Raises StateError."""
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
        joins = main if main != stream.name and main in self.plans else None
        position = Position(None, at)
        async with self._arranged.arranging:
            if stream not in self._arranged.streams:
                return
            coverage = self._arranged.moved(stream, Covered(stream.name, at))
            await self._arranged.store(coverage, {stream.name: (stream.start.plan.hash, position)}, without=stream)
            await self._store.close_gap(gap, at)
            self._arranged.remove(stream)
            self._arranged.coverage = coverage
            resumed = self._arranged.add(StreamStart(stream.start.plan, position, joins=joins))
        log.info("stream continues", stream=stream.name, since=written(at))
        self._begin(resumed)


def _next(time: Timestamp | None) -> Timestamp:
    return Timestamp(0, 1) if time is None else Timestamp(time.time, time.inc + 1)
