"""The composition root: turns a config into a running relay. Components are wired together only here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mess import __version__
from mess.admin.api.models import Tried
from mess.admin.server import AdminServer, PortInUse
from mess.cancellation import cancel
from mess.capture import preflight
from mess.capture.clock import ServerClock
from mess.capture.current_client import CurrentClient
from mess.capture.plan import StreamPlan, plan
from mess.capture.reach import Connect, answer, reach
from mess.capture.source import Connection
from mess.config.load import Loaded, load
from mess.config.model import Config
from mess.config.scope import pipelines
from mess.leadership import Leadership
from mess.relay.backfills import Backfills
from mess.relay.build import Steps, build_pipelines, describe_step
from mess.relay.checkpointer import Progress
from mess.relay.headroom import OplogWatch
from mess.relay.name_holder import NameHolder
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
from mess.state.open import RETRY_FOR, in_mongodb, open_store
from mess.state.store import StateStore
from mess.telemetry import tracing
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import Metrics
from mess.telemetry.recent import Recent
from mess.telemetry.tail.tail import Tail

if TYPE_CHECKING:
    from mess.relay.kafka_streams import KafkaStreams
    from mess.relay.worker import Worker
    from mess.telemetry.spans import Spans

log = get_logger("mess.relay")

T = TypeVar("T")

WAIT_SECONDS = 30.0
"""How long `Relay.run` waits for another process with its name, in seconds."""
_PORT_SECONDS, _PORT_PAUSE = 10.0, 0.5


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
        return self._stopping.is_set()

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
    def last_reload(self) -> ReloadResult | None:
        """The outcome of the last reload; None before the first one."""
        return None if self._reloading is None else self._reloading.last

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
        self._stopping.in_order(self.config.shutdown_grace)

    async def try_event(self, event: Mapping[str, Any], pipeline: str | None) -> Tried:
        """See `mess.admin.api.relay.ApiRelay`."""
        from mess.cases.trial import try_event  # a relay that never needs it starts sooner

        return await try_event(self.loaded, event, pipeline)

    async def reload(self) -> ReloadResult:
        """Read the config again, and replace what has changed; with a mistake in it, everything stays as it is.

        A reload that has begun is finished even if this is cancelled. If one is under way, the next one follows it.
        """
        if self._reloading is None:
            return reload_result([f"the relay is not running yet: {self.starting}"], ok=False)
        return await asyncio.shield(asyncio.create_task(self._reloading.reload()))

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
        """
        config = self.config
        if config.source is not None:
            await self._run_worker()
            return
        steps = build_pipelines(self.loaded)
        self._make_admin()
        port_taken = await self._serve()
        if port_taken is not None:
            log.warning("the admin server cannot start yet", error=str(port_taken))
        client = CurrentClient(config.mongodb.url, config.mongodb.driver, sticky=True)
        state_client = state_client_of(config)
        try:
            self.spans = tracing.start(config.name, __version__, config.tracing.enabled)
            with preflight.telling_the_role(self.plans, config.state.database):
                self.clock.observe(await self._reach(client, preflight.verify))
                async with (
                    store_for(config, self._reach, client=state_client) as store,
                    self._holding(store, wait, take_over) as holder,
                ):
                    self.starting = "opening"
                    if port_taken is not None:
                        await self._serve_after(holder, port_taken)
                    self.store = store
                    leadership = Leadership(await store.take_over())
                    self.replays = replays = LetterReplays(lambda: self.loaded, store, leadership)
                    try:
                        replaced = holder.replaced is not None
                        running = Running(
                            self.loaded,
                            self.plans,
                            client,
                            store,
                            state_client=state_client,
                            stopping=self._stopping,
                            metrics=self.metrics,
                            tail=self.tail,
                            spans=self.spans,
                            reach=self._reach,
                            clock=self.clock,
                            leadership=leadership,
                        )
                        await self._relay(running, steps, leadership.epoch, replaced=replaced)
                    finally:
                        await replays.close(self.config.shutdown_grace)
                        self.store = None
        except Halted:
            log.info("stopped before connecting")
        finally:
            await client.close()
            if self.admin is not None:
                await self.admin.stop()
            if self.spans is not None:
                await self.spans.stop()

    async def _run_worker(self) -> None:
        """`run` for a member of a Kafka consumer group, which shares its work with others of the same name."""
        from mess.capture.kafka import settings
        from mess.relay.worker import Worker  # a relay that reads MongoDB starts sooner

        config = self.config
        assert config.source is not None, "only a worker's config has a source"
        steps = build_pipelines(self.loaded)
        settings.check(config.source.kafka, self.loaded.directory)
        self._make_admin()
        if (port_taken := await self._serve()) is not None:
            raise port_taken
        try:
            self.spans = tracing.start(config.name, __version__, config.tracing.enabled)
            state_client = state_client_of(config)
            async with store_for(config, self._reach, client=state_client) as store:
                self.starting, self.store = "opening", store
                self.replays = replays = LetterReplays(lambda: self.loaded, store)
                try:
                    worker = Worker(
                        self.loaded,
                        store,
                        state_client=state_client,
                        stopping=self._stopping,
                        metrics=self.metrics,
                        tail=self.tail,
                        spans=self.spans,
                    )
                    await worker.begin(steps)
                    await self._while_running(worker, worker.run())
                finally:
                    await replays.close(self.config.shutdown_grace)
                    self.store = None
        except Halted:
            log.info("stopped before connecting")
        finally:
            if self.admin is not None:
                await self.admin.stop()
            if self.spans is not None:
                await self.spans.stop()

    def _make_admin(self) -> None:
        admin = self.config.admin
        if admin.enabled:
            self.admin = AdminServer(admin.host, admin.port, self.status, self, hosts=admin.hosts, relay=self)

    async def _serve(self) -> PortInUse | None:
        """Start the admin server. Returns the error that prevents it for now: the port may belong to the process that
        this one will replace."""
        try:
            if self.admin is not None:
                await self.admin.start()
        except PortInUse as error:
            return error
        return None

    async def _serve_after(self, holder: NameHolder, error: PortInUse) -> None:
        """Start the admin server as soon as the replaced process has ended."""
        deadline = time.monotonic() + _PORT_SECONDS
        while holder.replaced is not None and time.monotonic() < deadline:
            if await self._serve() is None:
                return
            await self._stopping.pause(_PORT_PAUSE)
        raise error

    def _holding(self, store: StateStore, wait: float, take_over: bool) -> NameHolder:
        def report(reason: str) -> None:
            self.starting = reason

        return NameHolder(
            store,
            self.instance,
            self._stopping,
            wait=wait,
            take_over=take_over,
            interval=self.config.checkpoint.interval,
            report=report,
        )

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

    async def _relay(self, running: Running, steps: Steps, epoch: int, *, replaced: bool) -> None:
        await running.begin(steps, known=epoch > 1, replaced=replaced)
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


@asynccontextmanager
async def store_for(
    config: Config,
    connect: Connect = reach,
    *,
    lasting: bool = True,
    retry_for: float = RETRY_FOR,
    client: CurrentClient | None = None,
) -> AsyncIterator[StateStore]:
    """Open the relay's state, and close it at the end.

    `connect` waits for the MongoDB that keeps the state; `client` is that of `state_client_of`, if there is one. For
    `lasting` see `StateStore.open`. `retry_for` is how many seconds a failing operation is retried.

    Raises StateError, SourceUnavailable if that MongoDB cannot be reached, NotPermitted if it refuses the user.
    """
    url = config.state.url or config.mongodb.url
    client = client or state_client_of(config)
    store = open_store(url, config.name, client and client.get_database(config.state.database), retry_for=retry_for)
    try:
        if client is not None:
            await connect(client, answer)
        await store.open(lasting=lasting)
        yield store
    finally:
        await store.close()
        if client is not None:
            await client.close()


def state_client_of(config: Config) -> CurrentClient | None:
    """The client that the state is kept with; None if it is not in MongoDB."""
    url = config.state.url or config.mongodb.url
    option = "state.url" if config.state.url else "mongodb.url"
    return CurrentClient(url, config.mongodb.driver, option=option) if in_mongodb(url) else None
