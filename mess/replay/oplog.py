"""Wires up the replay of a part of MongoDB's oplog (`mess replay`): a relay's parts, over streams that have an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bson import Timestamp

from mess.capture import client as mongodb
from mess.capture import preflight
from mess.capture.arrangement import StreamStart
from mess.capture.coverage import lookup
from mess.capture.plan import StreamPlan, assignments, plan
from mess.capture.reach import Connect, reach
from mess.capture.selection import Narrowing
from mess.capture.start import explained, time_latest, time_oldest
from mess.config.load import Loaded
from mess.errors import HistoryLost, SourceError
from mess.event import Namespace, Position
from mess.options.values import written_time
from mess.relay.assembly import Assembly
from mess.relay.build import Steps, build_pipelines
from mess.relay.engine import Engine
from mess.relay.gaps import Keeper
from mess.relay.router import Claim
from mess.relay.runner import FixedStreams, StreamRunner
from mess.relay.sources import Share, change_stream
from mess.relay.stopping import Halted, Stopping
from mess.replay.bounded_source import BoundedSource
from mess.replay.counts import ReplayCounts, only
from mess.replay.filter import narrow

_ROUTED_BY = ("operationType", "ns", "to", "documentKey", "clusterTime")
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Extent:
    """What to replay: the changes that were committed from `since` to `until`, both seconds included, and that are
    selected by `within`; through their pipelines, or for one `step` of them (see `only`)."""

    since: datetime
    until: datetime
    within: Narrowing = field(default_factory=Narrowing)
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to replay: the number of events of each pipeline and namespace, and how far back the oplog reaches
    (None if MongoDB does not say)."""

    events: Counter[tuple[str, Namespace]]
    oldest: datetime | None


class OplogReplay:
    """Delivers changes that are still in MongoDB's oplog again, as configured, in order and with their ids.

    It needs the state for dead letters only, so the relay may run beside it. `outcome` counts the outcomes of the
    events; `stopping` is whether `stop` was called. Raises ConfigError if the config watches nothing of the extent, or
    if a step's environment does not fit.
    """

    def __init__(self, loaded: Loaded, extent: Extent, client: Any) -> None:
        # A relay may skip lost history, but a replay was asked to deliver exactly that.
        self._config = loaded.config.model_copy(update={"on_history_lost": "stop"})
        self._steps = build_pipelines(loaded)
        if extent.step is not None:
            self._steps = only(self._steps, extent.step)
        self._plans = narrow(plan(self._config), extent.within)
        self._assigned = assignments(self._config)
        # Before the first change of its second, since a stream never begins where it ends.
        self._first = _cluster_time(extent.since, 0)
        self._last = _cluster_time(extent.until, _MOST)
        self._client = client
        self._counting, self._delivering = Stopping(), Stopping()
        self._runners: list[StreamRunner] = []
        self.outcome = ReplayCounts()
        self.stopping = False

    def stop(self) -> None:
        """Stop gracefully: deliveries in flight get the config's `shutdown_grace`. May be called at any time."""
        self.stopping = True
        for phase in (self._counting, self._delivering):
            phase.in_order(self._config.shutdown_grace)

    @property
    def complete(self) -> bool:
        """Whether every change of the extent is done."""
        return all(runner.finished for runner in self._runners)

    @property
    def reached(self) -> datetime:
        """Up to when, to the second, every change is done; later ones may be done, too."""
        return min(map(self._reached, self._runners), default=self._first).as_datetime()

    async def survey(self, connect: Connect = reach) -> Survey:
        """Read the extent as `deliver` will, and count its events. `connect` waits for MongoDB.

        Raises HistoryLost if the oplog begins later than the extent, another SourceError if MongoDB cannot be read,
        Halted if `stop` is called meanwhile.
        """
        await self._counting.unless(connect(self._client, preflight.verify))
        self._last = min(self._last, await self._counting.unless(explained(time_latest(self._client))))
        oldest = await self._counting.unless(self._oldest())
        self.outcome = counted = ReplayCounts()
        await self._run({name: [] for name in self._steps}, _to_count(self._plans), self._counting)
        if self.stopping:
            raise Halted
        found = {(name, each): count for name, some in counted.routed.items() for each, count in some.items()}
        return Survey(Counter(found), None if oldest is None else oldest.as_datetime())

    async def deliver(self, keeper: Keeper) -> None:
        """Deliver the extent, after `survey`; events that are given up go to `keeper`.

        Returns early if `stop` is called (see `complete`), and raises whatever ends a relay (see `mess.errors`).
        """
        self.outcome = ReplayCounts(keeper)
        await self._run(self._steps, self._plans, self._delivering)

    async def _run(self, steps: Steps, plans: Sequence[StreamPlan], stopping: Stopping) -> None:
        parts = Assembly(self._config, steps, self.outcome, stopping, self.outcome)
        self._runners = []
        engine = Engine(parts.pipelines, None, stopping, grace=lambda: self._config.shutdown_grace)
        if self._first > self._last:
            return
        share = Share.of(self._config.window, len(plans))
        for each in plans:
            start = StreamStart(each, Position(None, self._first))
            claim = Claim(partial(self._claimed, each), lambda namespace: self._first)
            source = BoundedSource(change_stream(self._client, self._config, start, share, ends=True), self._last)
            runner = parts.runner(source, start, claim, share)
            self._runners.append(runner)
        try:
            with preflight.telling_the_role(plans, self._config.state.database):
                await engine.run(FixedStreams(self._runners))
        except HistoryLost as error:
            raise await self._lost() from error

    def _claimed(self, stream: StreamPlan, namespace: Namespace) -> Timestamp | None:
        mine = lookup(self._assigned, namespace) == stream.name and stream.selection.within.selects(namespace)
        return self._first if mine else None

    def _reached(self, runner: StreamRunner) -> Timestamp:
        position = runner.window.position
        return self._last if runner.finished else (position and position.time) or self._first

    async def _oldest(self) -> Timestamp | None:
        try:
            return await explained(time_oldest(self._client))
        except SourceError:
            return None  # the user may not read the oplog itself; a mongos has none

    async def _lost(self) -> HistoryLost:
        oldest = await self._oldest()
        remedy = "begin later"
        if oldest is not None:
            whole = written_time(oldest.as_datetime() + timedelta(seconds=1))
            remedy = f"it reaches back to {written_time(oldest.as_datetime())}. Begin there: --from {whole}"
        return HistoryLost(
            f"MongoDB's oplog no longer holds the changes from {written_time(self.reached)} on; {remedy}"
        )


@asynccontextmanager
async def replaying(loaded: Loaded, extent: Extent) -> AsyncIterator[OplogReplay]:
    """A replay, connected to MongoDB. Raises the same errors as `OplogReplay`."""
    client = mongodb.connect(loaded.config.mongodb.url, loaded.config.mongodb.driver, sticky=True)
    try:
        yield OplogReplay(loaded, extent, client)
    finally:
        await mongodb.close(client)


def _cluster_time(time: datetime, increment: int) -> Timestamp:
    return Timestamp(min(max(1, int(time.timestamp())), _MOST), increment)


def _to_count(plans: Sequence[StreamPlan]) -> list[StreamPlan]:
    """The same streams, with only the parts of their events that routing needs."""
    return [replace(each, fields=_ROUTED_BY) for each in plans]
