"""The parts of a relay while it runs, made from its config. A reload changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from mess.capture.arrangement import StreamStart, main_stream
from mess.capture.clock import ServerClock
from mess.capture.current_client import CurrentClient
from mess.capture.existing import Facts
from mess.capture.merged_source import MergedSource
from mess.capture.oplog import observe, oldest_kept
from mess.capture.plan import StreamPlan, plan
from mess.capture.start import describe_start, time_now
from mess.capture.stream import ChangeStream
from mess.config.load import Loaded
from mess.config.model import Config
from mess.event import Namespace, Position
from mess.relay.arranged import Stream
from mess.relay.arranging import close_gaps, record_gaps, store_arrangement
from mess.relay.backfills import Backfills
from mess.relay.build import Steps
from mess.relay.checkpointer import Checkpointer
from mess.relay.core import RelayContext, RelayCore
from mess.relay.engine import Engine
from mess.relay.gaps import Keeper
from mess.relay.ha.leading import leading
from mess.relay.headroom import OplogWatch
from mess.relay.outlook import Outlook, outlook
from mess.relay.pauses import Pauses
from mess.relay.router import Claim
from mess.relay.runner import StreamRunner
from mess.relay.sources import Share, change_stream
from mess.relay.stopping import Halted
from mess.relay.streams import Streams
from mess.relay.wanted_backfills import HealingKeeper, add_initial, existing, wants_initial
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

T = TypeVar("T")


class Reach(Protocol):
    """Asks MongoDB until it answers, however long that takes. Raises Halted if the relay stops meanwhile."""

    async def __call__(self, client: Any, ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T: ...


class Running(RelayCore):
    """A relay's streams and pipelines, with what runs beside them.

    `plans` are those of its streams. `client` reads MongoDB, and `lease_client` is for the lease alone.
    """

    group = None

    def __init__(
        self,
        loaded: Loaded,
        plans: Sequence[StreamPlan],
        context: RelayContext,
        *,
        client: CurrentClient,
        lease_client: CurrentClient | None,
        reach: Reach,
        clock: ServerClock,
    ) -> None:
        super().__init__(loaded, context)
        self.plans = list(plans)
        self.client = client
        self.lease_client = lease_client
        self.reach = reach
        self._clock = clock
        self._leading = partial(leading, self.leadership, self.stopping)
        self._settling = 0.0
        self._change_streams: WeakSet[ChangeStream] = WeakSet()
        self.streams: Streams
        self.backfills: Backfills
        self.checkpointer: Checkpointer
        self.engine: Engine
        self.oplog: OplogWatch

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""
        return self.streams.runners

    def planned(self, config: Config) -> list[StreamPlan]:
        """The streams of a config. Raises ConfigError."""
        return plan(config)

    def put_in_force(self, loaded: Loaded) -> None:
        """From now on, this config is the one in force. Pipelines and streams are not changed by that."""
        self.loaded = loaded
        options = loaded.config.checkpoint
        self.checkpointer.interval, self.checkpointer.idle_interval = options.interval, options.idle_interval
        self.backfills.config = loaded.config

    def reconnect(self, client: Any) -> None:
        """Read MongoDB with this client from now on."""
        self.client.replace(client)
        for stream in self._change_streams:
            stream.reconnect(client)

    async def begin(self, steps: Steps, *, known: bool, settling: float = 0.0) -> None:
        """Make all parts, with the streams where the stored state says.

        `known` is whether the relay has run before, `settling` for how many seconds a process that was replaced may
        still deliver, 0 if there is none.
        Raises DamagedState, StateError, SourceError.
        """
        config, store = self.config, self.store
        found = await self._arrange(known=known)
        self._assemble(steps, self._keeper())
        self.pauses = Pauses(store, self)
        self._share = Share.of(config.window, len(found.arrangement.starts))
        self.backfills = Backfills(
            store,
            self.client,
            config,
            self.parts.pipelines,
            max_bytes=self._share.bytes // 4,
            started=None if settling else found.now,
            count=self._metrics.backfilled,
        )
        self.streams = streams = Streams(
            self.plans,
            found.arrangement,
            store,
            self._open_stream,
            oldest=lambda: oldest_kept(self.client),
            announce_gaps=config.gaps == "deliver",
            leading=self._leading,
        )
        self.checkpointer = Checkpointer(
            store,
            streams.progress,
            self.backfills,
            interval=config.checkpoint.interval,
            idle_interval=config.checkpoint.idle_interval,
            leadership=self.leadership,
        )
        self._settling = settling
        await self.stopping.unless(aside(self.backfills.begin(streams)))
        await self.pauses.begin()
        self.engine = Engine(
            self.parts.pipelines, self.checkpointer, self.stopping, grace=lambda: self.config.shutdown_grace
        )
        self.oplog = OplogWatch(
            lambda: observe(self.client, self._clock),
            lambda: [stream.progress for stream in streams.streams if stream.stopped is None],
        )

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What is to run beside the engine."""
        return (
            self._prune(),
            self.oplog.run(),
            self.backfills.run(),
            self.pauses.run(),
            self.stored.run(),
            self._begin_backfills(),
        )

    async def rearrange(self, halted: Sequence[Stream], plans: Sequence[StreamPlan], names: Collection[str]) -> None:
        """Read the streams of `plans` that are called `names` in place of those that were `halted`, from where these
        are. Call it with `streams.arranging` held. Raises StateError, SourceError, Halted."""
        streams, config = self.streams, self.config
        await self._leading()
        await self.checkpointer.save()
        recorded = streams.reached(halted)
        wanted = [plan for plan in plans if plan.name in names]
        found = await outlook(config, wanted, self.store, self.client, self.reach, recorded=recorded)
        gaps = [gap for gap in found.gaps if main_stream(gap.stream) in names]
        await self._store(replace(found, gaps=gaps), known=True, others=lambda: streams.positions(without=halted))
        self._share_out(len(streams.streams) - len(halted) + len(found.arrangement.starts))
        self.plans = list(plans)
        await self.backfills.restart({stream.name for stream in halted}, found.now)
        streams.replace(halted, plans, found.arrangement)

    async def _arrange(self, *, known: bool) -> Outlook:
        """Determine where the streams begin, and store that before any event is delivered."""
        found = await outlook(self.config, self.plans, self.store, self.client, self.reach)
        await self._store(found, known=known)
        return found

    async def _store(
        self, found: Outlook, *, known: bool, others: Callable[[], Mapping[str, tuple[str, Position]]] = dict
    ) -> None:
        """Store an arrangement, with the positions of `others` at that moment, and what follows from it."""
        config, store, arrangement = self.config, self.store, found.arrangement
        for start in arrangement.starts:
            if known and start.new:
                log.warning("no position for stream; starting from " + describe_start(config), stream=start.name)
        if wants_initial(config):
            await add_initial(store, config, found.known, self._existing)
        await record_gaps(store, self._keeper(), arrangement, announce=config.gaps == "deliver")
        await store_arrangement(store, arrangement.coverage, {**others(), **arrangement.positions()})
        await close_gaps(store, arrangement, found.gaps)

    def _open_stream(self, start: StreamStart, claim: Claim) -> StreamRunner:
        chunks = self.backfills.chunks(start.name)
        changes = change_stream(self.client.current, self.config, start, self._share)
        self._change_streams.add(changes)
        source = MergedSource(changes, chunks)
        chunks.nudge = source.nudge
        runner = self.parts.runner(source, start, claim, self._share)
        runner.hold(held=self.pauses.of_stream(start.name) is not None)
        return runner

    async def _begin_backfills(self) -> None:
        """Let documents be read once a process that was replaced cannot deliver any more."""
        if self.backfills.started is None:
            await asyncio.sleep(self._settling)
            self.backfills.started = await self.reach(self.client, time_now)

    def _keeper(self) -> Keeper:
        if self.config.on_history_lost != "backfill":
            return self.store
        return HealingKeeper(self.store, self._existing)

    async def _existing(self, only: Callable[[Namespace], bool]) -> Sequence[Facts]:
        return await self.reach(self.client, partial(existing, config=self.config, only=only))


async def aside(work: Coroutine[Any, Any, None]) -> None:
    """Run a task that delivery does not depend on. If it fails, log that and let the relay continue."""
    try:
        await work
    except Halted:
        return  # the relay stops, or becomes a standby
    except Exception:
        log.exception("a background task has failed; delivery continues. Please report this")
