"""The composition root: turns a config into a running relay. Components are wired together only here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mess import __version__
from mess.admin.api.models import Tried
from mess.admin.server import AdminServer
from mess.admin.serving import AdminServing
from mess.cancellation import cancel
from mess.capture import preflight
from mess.capture.clock import ServerClock
from mess.capture.current_client import CurrentClient
from mess.capture.plan import StreamPlan, plan
from mess.capture.reach import reach
from mess.capture.source import Connection
from mess.config.load import Loaded, load
from mess.config.model import Config, KafkaSource
from mess.config.scope import pipelines
from mess.errors import ConfigError, DamagedState, StateError, Superseded
from mess.leadership import ALWAYS, Leadership
from mess.relay.backfills import Backfills
from mess.relay.build import Steps, build_pipelines, describe_step
from mess.relay.checkpointer import Progress
from mess.relay.core import RelayContext
from mess.relay.ha.leading import leading
from mess.relay.ha.lease_holder import LeaseHolder
from mess.relay.ha.lease_watch import patience
from mess.relay.ha.name_holder import NameHolder
from mess.relay.ha.role import Role
from mess.relay.ha.standby_config import standby_config
from mess.relay.headroom import OplogWatch
from mess.relay.kafka.group import KafkaGroup
from mess.relay.pauses import Pauses
from mess.relay.reload_result import ReloadResult, reload_result
from mess.relay.reloading import Reloading
from mess.relay.runner import StreamRunner
from mess.relay.running import Running, aside
from mess.relay.snapshot import snapshot
from mess.relay.status import RelayStatus, Saving
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Halted, Stopping
from mess.relay.stored_counts import StoredCounts
from mess.relay.streams import Streams
from mess.relay.wait_log import WaitLog
from mess.replay import strays
from mess.replay.jobs import LetterReplays
from mess.state.instance import Instance
from mess.state.store import StateStore
from mess.stores import lease_client_of, state_client_of, store_for
from mess.telemetry import tracing
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import Metrics
from mess.telemetry.recent import Recent
from mess.telemetry.tail.tail import Tail

if TYPE_CHECKING:
    from mess.relay.kafka.streams import KafkaStreams
    from mess.relay.kafka.worker import Worker
    from mess.telemetry.spans import Spans

log = get_logger("mess.relay")

T = TypeVar("T")

WAIT_SECONDS = 30.0
"""How long `Relay.run` waits for another process with its name, in seconds."""


class Relay:
    """Watches what a config selects and delivers every change until it is stopped.

    `await Relay.from_config("config.yml").run()` is all that your own program needs. `changed` is called with each
    config that `reload` has put in force.
    """

    def __init__(self, loaded: Loaded, *, changed: Callable[[Loaded], None] = lambda loaded: None) -> None:
        self._loaded = loaded
        self.files: Collection[Path] = loaded.files
        """The files that the config was last read from, whether there were mistakes in it or not."""
        self.instance = Instance.current()
        self.status = RelayStatus(self)
        self.clock = ServerClock()
        self.metrics = Metrics(__version__, partial(snapshot, self), now=self.clock.now)
        self.recent = Recent(self.metrics)
        self.tail = Tail(self.recent)
        self._plans = [] if loaded.config.source is not None else plan(loaded.config)
        self._changed = changed
        self._stopping = Stopping()
        self._asked_to_stop = self._wait_anew = False
        self._last_reload: ReloadResult | None = None
        self._holder: NameHolder | LeaseHolder | None = None
        self._is_running = asyncio.Event()
        self._running: Running | Worker | None = None
        self._reloading: Reloading | None = None
        self.starting: str | None = "starting"
        self.replays: LetterReplays | None = None
        self.spans: Spans | None = None
        self.admin: AdminServer | None = None
        self.store: StateStore | None = None

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Relay:
        """A relay for a config file. Raises ConfigError with all its mistakes."""
        return cls(load(path, environ=environ, overrides=overrides))

    @classmethod
    def from_env(cls) -> Relay:
        """A relay for the config file in `MESS_CONFIG`, or the default one. Raises ConfigError."""
        return cls.from_config()

    @property
    def name(self) -> str:
        """The relay's name."""
        return self.config.name

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called, or the relay is stopping by itself."""
        return self._asked_to_stop or (self._stopping.is_set() and self.config.ha is None)

    @property
    def loaded(self) -> Loaded:
        """The config in force."""
        return self._loaded if self._running is None else self._running.loaded

    @property
    def config(self) -> Config:
        """The options in force."""
        return self.loaded.config

    @property
    def plans(self) -> Sequence[StreamPlan]:
        """The plans of its streams."""
        return self._plans if self._running is None else self._running.plans

    @property
    def streams(self) -> Streams | KafkaStreams | None:
        """Its streams, as soon as they are known."""
        return None if self._running is None else self._running.streams

    @property
    def sources(self) -> Sequence[Connection]:
        """The change streams that it reads from, in the order of `progress`."""
        return [] if self.streams is None else self.streams.sources

    @property
    def runners(self) -> list[StreamRunner]:
        """The runners of its streams."""
        return [] if self.streams is None else self.streams.runners

    @property
    def progress(self) -> list[Progress]:
        """How far each stream has been processed."""
        return [] if self.streams is None else self.streams.progress

    @property
    def step_runners(self) -> list[StepRunner]:
        """The runners of its steps."""
        return [] if self._running is None else self._running.parts.step_runners

    @property
    def checkpointer(self) -> Saving | None:
        """What stores its progress."""
        return None if self._running is None else self._running.checkpointer

    @property
    def oplog(self) -> OplogWatch | None:
        """What watches MongoDB's oplog."""
        return None if self._running is None else self._running.oplog

    @property
    def backfills(self) -> Backfills | None:
        """What follows its backfills."""
        return None if self._running is None else self._running.backfills

    @property
    def pauses(self) -> Pauses | None:
        """What follows operators' pauses."""
        return None if self._running is None else self._running.pauses

    @property
    def stored(self) -> StoredCounts | None:
        """How much its state holds."""
        return None if self._running is None else self._running.stored

    @property
    def role(self) -> Role | None:
        """Its role among the processes with its name; None without `ha`, and while it starts."""
        return self._holder.role if isinstance(self._holder, LeaseHolder) else None

    @property
    def leadership(self) -> Leadership | None:
        """Whether it may deliver at present; None before that is known."""
        if isinstance(self._holder, LeaseHolder):
            return self._holder.leadership
        return None if self._running is None else self._running.leadership

    @property
    def group(self) -> KafkaGroup | None:
        """Its consumer group; None if its source is not Kafka."""
        return None if self._running is None else self._running.group

    @property
    def last_reload(self) -> ReloadResult | None:
        """The outcome of the last reload; None before the first one."""
        latest = None if self._reloading is None else self._reloading.last
        return latest or self._last_reload

    def describe_pipelines(self) -> dict[str, list[str]]:
        """The steps of each pipeline in a few words, without secrets."""
        return {
            spec.name: [describe_step(step, self.config.plugins) for step in spec.steps]
            for spec in pipelines(self.config)
        }

    def stop(self) -> None:
        """Stop the relay gracefully; `run` returns when it has stopped. May be called repeatedly, and before `run`."""
        if not self.stopping:
            log.info("stopping; waiting for deliveries in flight", grace=f"{self.config.shutdown_grace:g}s")
        self._asked_to_stop = True
        self._stopping.in_order(self.config.shutdown_grace)

    async def try_event(self, event: Mapping[str, Any], pipeline: str | None) -> Tried:
        """See `mess.admin.api.relay.ApiRelay`."""
        from mess.cases.trial import try_event  # a relay that never needs it starts sooner

        return await try_event(self.loaded, event, pipeline)

    async def reload(self) -> ReloadResult:
        """Read the config again, and replace what has changed; with a mistake in it, everything stays as it is.

        A reload that has begun is finished even if this is cancelled. If one is under way, the next one follows it.
        """
        if self.reloads_as_standby:
            self._last_reload = await self._reload_standby()
            return self._last_reload
        if self._reloading is None:
            return reload_result([f"the relay is not running yet: {self.starting}"], ok=False)
        return await asyncio.shield(asyncio.create_task(self._reloading.reload()))

    @property
    def reloads_as_standby(self) -> bool:
        """Whether a reload does not have to wait until it is active: it runs nothing yet."""
        return self.config.ha is not None and (self.role is None or self.role.name == "standby")

    async def _reload_standby(self) -> ReloadResult:
        try:
            found = await asyncio.to_thread(standby_config, self._loaded, self._load_again)
        except ConfigError as error:
            log.error("config not reloaded; the old one stays in force", problem=str(error))
            return reload_result(list(map(str, error.problems)), ok=False)
        if not self.reloads_as_standby or self._asked_to_stop:
            return reload_result(["the role has just changed; reload again"], ok=False)
        self._loaded, self._plans = found
        self._changed(self._loaded)
        self._wait_anew = True
        self._stopping.set()
        log.info("config reloaded; the standby begins anew")
        return reload_result(["the standby begins anew with this config"], ok=True)

    def _load_again(self) -> Loaded:
        files: set[Path] = set()
        try:
            return self._loaded.again(files.add)
        finally:
            self.files = files

    async def started(self) -> None:
        """Return when its streams are known and about to be read."""
        await self._is_running.wait()

    async def ready(self) -> None:
        """Return when every stream has connected for the first time."""
        await self._is_running.wait()
        if self._running is not None:
            await self._running.streams.connected()

    async def run(self, *, wait: float = WAIT_SECONDS, take_over: bool = False) -> None:
        """Relay changes until `stop` is called. Raises the MessError that ends the relay otherwise.

        If another process runs under this relay's name, waits for it for up to `wait` seconds (then raises NameInUse),
        or stops it with `take_over`. A process that is known to have ended, or that is this one, is replaced
        immediately.

        With `ha`, it is a standby as long as another process is active, and whenever it is not active any more: `wait`
        does not matter, and `take_over` asks the active process to hand over.
        """
        steps = build_pipelines(self.loaded)
        if self.config.admin.enabled:
            admin = self.config.admin
            self.admin = AdminServer(admin.host, admin.port, self.status, self, hosts=admin.hosts, relay=self)
        serving = AdminServing(self.admin)
        await serving.begin()
        waiting = asyncio.create_task(serving.when_free()) if self.config.ha is not None else None
        try:
            self.spans = tracing.start(self.name, __version__, self.config.tracing.enabled)
            while True:
                try:
                    if self.config.source is None:
                        await self._run_once(steps, wait, take_over=take_over, serving=serving)
                    elif serving.taken is not None:
                        raise serving.taken  # several workers run side by side
                    else:
                        await self._run_worker(self.config.source.kafka, steps)
                    return
                except StateError as error:
                    if not self._stands_by_after(error):
                        raise
                    log.warning("not active any more; standby", reason=str(error))
                    take_over = False
                except Halted:
                    if self._asked_to_stop or not self._wait_anew:
                        raise
                self._begin_again()
                steps = build_pipelines(self.loaded)
        except Halted:
            log.info("stopped before connecting")
        finally:
            if waiting is not None:
                await cancel(waiting)
            await serving.stop()
            if self.spans is not None:
                await self.spans.stop()

    async def _run_once(self, steps: Steps, wait: float, *, take_over: bool, serving: AdminServing) -> None:
        config = self.config
        client = CurrentClient(config.mongodb.url, config.mongodb.driver, sticky=True)
        state_client, lease_client = state_client_of(config), lease_client_of(config)
        try:
            with preflight.telling_the_role(self.plans, config.state.database):
                self.clock.observe(await self._reach(client, preflight.verify))
                async with (
                    store_for(config, self._reach, client=state_client) as store,
                    self._holding(store, wait, take_over, lease_client=lease_client) as holder,
                ):
                    self.starting = "opening"
                    if config.ha is None:
                        await serving.soon(replaced=holder.replaced is not None, pause=self._stopping.pause)
                    self.store = store
                    leadership, settling = holder.leadership, holder.settling(config.shutdown_grace)
                    # A process that was frozen meanwhile must not fence off its successor.
                    await leading(leadership, self._stopping)
                    leadership.epoch = await store.take_over()
                    self.replays = replays = LetterReplays(lambda: self.loaded, store, leadership)
                    try:
                        running = Running(
                            self.loaded,
                            self.plans,
                            self._context(store, state_client, leadership),
                            client=client,
                            lease_client=lease_client,
                            reach=self._reach,
                            clock=self.clock,
                        )
                        await self._relay(running, steps, leadership.epoch, settling=settling)
                    finally:
                        await replays.close(self.config.shutdown_grace)
                        self.store = None
        finally:
            await client.close()
            if lease_client is not None:
                await lease_client.close()

    def _stands_by_after(self, error: StateError) -> bool:
        """Whether the process is to become a standby after this error."""
        if not isinstance(self._holder, LeaseHolder):
            return False
        # Nothing could be stored for so long that another process may be active by now.
        lost = isinstance(error, Superseded) or (self._holder.lapsed and not isinstance(error, DamagedState))
        return lost and not self._asked_to_stop

    def _begin_again(self) -> None:
        self._loaded, self._plans, self._last_reload = self.loaded, list(self.plans), self.last_reload
        self._wait_anew = False
        self._running = self._reloading = self._holder = None
        self._stopping = Stopping()
        self._is_running.clear()
        self.instance = Instance.current()
        self.starting = "starting"

    async def _run_worker(self, source: KafkaSource, steps: Steps) -> None:
        """Deliver as a member of a consumer group, which shares its work with others."""
        from mess.capture.kafka import settings  # a relay that reads MongoDB starts sooner
        from mess.relay.kafka.worker import Worker

        settings.check(source, self.loaded.directory)
        leadership = Leadership(until=0.0)
        state_client = state_client_of(self.config)
        async with store_for(self.config, self._reach, client=state_client) as store:
            self.starting, self.store = "opening", store
            self.replays = replays = LetterReplays(lambda: self.loaded, store, ALWAYS)
            try:
                worker = Worker(self.loaded, source, self._context(store, state_client, leadership))
                await worker.begin(steps)
                await self._while_running(worker, worker.run())
            finally:
                await replays.close(self.config.shutdown_grace)
                self.store = None

    def _context(self, store: StateStore, state_client: CurrentClient | None, leadership: Leadership) -> RelayContext:
        return RelayContext(
            store=store,
            state_client=state_client,
            stopping=self._stopping,
            metrics=self.metrics,
            tail=self.tail,
            spans=self.spans,
            leadership=leadership,
        )

    @asynccontextmanager
    async def _holding(
        self, store: StateStore, wait: float, take_over: bool, *, lease_client: CurrentClient | None
    ) -> AsyncIterator[NameHolder | LeaseHolder]:
        def report(reason: str) -> None:
            self.starting = reason

        config = self.config
        if config.ha is None:
            self._holder = NameHolder(
                store,
                self.instance,
                self._stopping,
                wait=wait,
                take_over=take_over,
                interval=config.checkpoint.interval,
                report=report,
            )
            async with self._holder as holder:
                yield holder
            return
        database = lease_client and lease_client.get_database(config.state.database)
        lease = store.ha_lease(patience(config.ha.lease), database)
        self._holder = LeaseHolder(
            store,
            lease,
            self.instance,
            stopping=self._stopping,
            seconds=config.ha.lease,
            take_over=take_over,
            interval=config.checkpoint.interval,
            grace=lambda: self.config.shutdown_grace,
            report=report,
        )
        self.store = store  # a standby shows what is in it
        try:
            async with self._holder as leader:
                yield leader
        finally:
            self.store = None
            await lease.close()

    async def _reach(self, client: Any, ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Ask MongoDB until it answers, however long that takes. Raises Halted if the relay stops meanwhile."""

        def say(reason: str) -> None:
            self.starting = reason
            log.warning("MongoDB cannot be reached, trying again", error=reason)

        try:
            return await self._stopping.unless(reach(client, ask, within=None, say=say))
        finally:
            # A reload asks MongoDB, too, of a relay that has started.
            self.starting = None if self._is_running.is_set() else "opening"

    async def _relay(self, running: Running, steps: Steps, epoch: int, *, settling: float) -> None:
        await running.begin(steps, known=epoch > 1, settling=settling)
        await self._while_running(running, running.engine.run(running.streams))

    async def _while_running(self, running: Running | Worker, engine: Coroutine[Any, Any, None]) -> None:
        """Run the engine, and what belongs beside it."""
        self._running = running
        self._reloading = Reloading(running, self._load_again, self._changed)
        self.starting = None
        self._is_running.set()
        said = WaitLog(self.status.waits, self.clock.now)
        work = (*running.tasks(), said.run(), strays.warn(self.config, running.store))
        beside = [asyncio.create_task(aside(each)) for each in work]
        try:
            await engine
        finally:
            await self._reloading.finished()
            await cancel(*beside)
