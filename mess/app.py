"""The composition root: turns a config into a running relay. Components are wired together only here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mess import __version__
from mess.admin.api.models import Reload, Tried
from mess.admin.server import AdminServer, PortInUse
from mess.cancellation import cancel
from mess.capture import client as mongodb
from mess.capture import preflight
from mess.capture.arrangement import StreamStart
from mess.capture.clock import ServerClock
from mess.capture.existing import Facts
from mess.capture.merged_source import MergedSource
from mess.capture.oplog import observe, oldest_kept
from mess.capture.plan import StreamPlan, plan
from mess.capture.reach import Connect, answer, reach
from mess.capture.source import Connection
from mess.capture.start import describe_start, time_now
from mess.cases.trial import try_event
from mess.config.load import Loaded, load
from mess.config.model import Config
from mess.config.scope import pipeline_of, pipelines
from mess.errors import StateError
from mess.event import Namespace
from mess.relay.arranging import close_gaps, record_gaps, store_arrangement
from mess.relay.assembly import Assembly
from mess.relay.backfills import Backfills
from mess.relay.build import Steps, build_pipelines, describe_step, step_names
from mess.relay.checkpointer import Checkpointer, Progress
from mess.relay.engine import Engine
from mess.relay.gaps import Keeper
from mess.relay.headroom import OplogWatch
from mess.relay.name_holder import NameHolder
from mess.relay.outlook import Outlook, outlook
from mess.relay.pauses import Pauses
from mess.relay.router import Claim
from mess.relay.runner import StreamRunner
from mess.relay.snapshot import snapshot
from mess.relay.sources import Share, change_stream
from mess.relay.status import RelayStatus
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Halted, Stopping
from mess.relay.stored_counts import StoredCounts
from mess.relay.streams import Streams
from mess.relay.wanted_backfills import HealingKeeper, add_initial, existing, wants_initial
from mess.replay import strays
from mess.replay.jobs import LetterReplays
from mess.state.instance import Instance
from mess.state.lease import ALIVE_SECONDS
from mess.state.open import RETRY_FOR, in_mongodb, open_store
from mess.state.store import StateStore
from mess.telemetry import tracing
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import Metrics
from mess.telemetry.recent import Recent
from mess.telemetry.tail.tail import Tail

if TYPE_CHECKING:
    from mess.telemetry.spans import Spans

log = get_logger("mess.relay")

T = TypeVar("T")

WAIT_SECONDS = 30.0
"""How long `Relay.run` waits for another process with its name, in seconds."""
_PORT_SECONDS, _PORT_PAUSE = 10.0, 0.5


class Relay:
    """Watches what a config selects and delivers every change until it is stopped.

    `await Relay.from_config("config.yml").run()` is all that your own program needs.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.instance = Instance.current()
        self.config = loaded.config
        self.status = RelayStatus(self)
        self.clock = ServerClock()
        self.metrics = Metrics(__version__, partial(snapshot, self), now=self.clock.now)
        self.recent = Recent(self.metrics)
        self.tail = Tail(self.recent)
        self.plans: list[StreamPlan] = plan(loaded.config)
        self._stopping = Stopping()
        self._running = asyncio.Event()
        self._streams: Streams | None = None
        self.step_runners: list[StepRunner] = []
        self.checkpointer: Checkpointer | None = None
        self.starting: str | None = "starting"
        self.oplog: OplogWatch | None = None
        self.backfills: Backfills | None = None
        self.pauses: Pauses | None = None
        self.replays: LetterReplays | None = None
        self.last_reload: Reload | None = None
        self.stored: StoredCounts | None = None
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
    def sources(self) -> Sequence[Connection]:
        """The change streams that it reads from, in the order of `progress`."""
        return [] if self._streams is None else self._streams.sources

    @property
    def runners(self) -> list[StreamRunner]:
        """The runners of its streams."""
        return [] if self._streams is None else self._streams.runners

    @property
    def progress(self) -> list[Progress]:
        """How far each stream has been processed."""
        return [] if self._streams is None else self._streams.progress

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
        return await try_event(self.loaded, event, pipeline)

    async def reload(self) -> Reload:
        """See `mess.admin.api.relay.ApiRelay`."""
        text = "the config cannot be reloaded yet; restart the relay"
        return Reload(time=datetime.now(timezone.utc), ok=False, text=[text])

    async def ready(self) -> None:
        """Return when every stream has connected for the first time."""
        await self._running.wait()
        if self._streams is not None:
            await self._streams.connected()

    async def run(self, *, wait: float = WAIT_SECONDS, take_over: bool = False) -> None:
        """Relay changes until `stop` is called. Raises the MessError that ends the relay otherwise.

        If another process runs under this relay's name, waits for it for up to `wait` seconds (then raises NameInUse),
        or stops it with `take_over`. A process that is known to have ended, or that is this one, is replaced
        immediately.
        """
        config = self.config
        steps = build_pipelines(self.loaded)
        if config.admin.enabled:
            admin = config.admin
            self.admin = AdminServer(admin.host, admin.port, self.status, self, hosts=admin.hosts, relay=self)
        port_taken = await self._serve()
        if port_taken is not None:
            log.warning("the admin server cannot start yet", error=str(port_taken))
        client = mongodb.connect(config.mongodb.url, config.mongodb.driver, sticky=True)
        try:
            self.spans = tracing.start(config.name, __version__, config.tracing.enabled)
            with preflight.telling_the_role(self.plans, config.state.database):
                self.clock.observe(await self._reach(client, preflight.verify))
                async with (
                    store_for(config, self._reach) as store,
                    self._holding(store, wait, take_over) as holder,
                ):
                    self.starting = "opening"
                    if port_taken is not None:
                        await self._serve_after(holder, port_taken)
                    self.store = store
                    self.replays = LetterReplays(self.loaded, store)
                    try:
                        replaced = holder.replaced is not None
                        await self._relay(client, store, steps, await store.take_over(), replaced=replaced)
                    finally:
                        await self.replays.close(config.shutdown_grace)
                        self.store = None
        except Halted:
            log.info("stopped before connecting")
        finally:
            await mongodb.close(client)
            if self.admin is not None:
                await self.admin.stop()
            if self.spans is not None:
                await self.spans.stop()

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

        answer = await self._stopping.unless(reach(client, ask, within=None, say=say))
        self.starting = "opening"
        return answer

    async def _relay(self, client: Any, store: StateStore, steps: Steps, epoch: int, *, replaced: bool) -> None:
        config = self.config
        found = await self._arrange(client, store, known=epoch > 1)
        arrangement = found.arrangement
        announce = config.gaps == "deliver"
        parts = Assembly(
            config,
            steps,
            self._keeper(client, store),
            self._stopping,
            self.tail,
            spans=self.spans,
            deliver_gaps=announce,
        )
        self.step_runners = parts.step_runners
        self.tail.arrange(step_names(steps), partial(pipeline_of, config))
        share = Share.of(config.window, len(arrangement.starts))

        self.backfills = backfills = Backfills(
            store,
            client,
            config,
            list(parts.pipelines.values()),
            max_bytes=share.bytes // 4,
            started=None if replaced else found.now,
            count=self.metrics.backfilled,
        )

        def open_stream(start: StreamStart, claim: Claim) -> StreamRunner:
            chunks = backfills.chunks(start.name)
            source = MergedSource(change_stream(client, config, start, share), chunks)
            chunks.nudge = source.nudge
            runner = parts.runner(source, start, claim, share)
            runner.hold(held=self.pauses is not None and self.pauses.of_stream(start.name) is not None)
            return runner

        self._streams = streams = Streams(
            self.plans,
            arrangement,
            store,
            open_stream,
            oldest=lambda: oldest_kept(client),
            announce_gaps=announce,
        )
        self.checkpointer = checkpointer = Checkpointer(
            store,
            streams.progress,
            backfills,
            interval=config.checkpoint.interval,
            idle_interval=config.checkpoint.idle_interval,
        )
        await self._stopping.unless(_aside(backfills.begin(streams)))
        self.pauses = pauses = Pauses(store, self)
        await pauses.begin()
        engine = Engine(list(parts.pipelines.values()), checkpointer, self._stopping, config.shutdown_grace)
        self.starting = None
        self._running.set()
        self.oplog = OplogWatch(
            lambda: observe(client, self.clock),
            lambda: [stream.progress for stream in streams.streams if stream.stopped is None],
        )
        self.stored = StoredCounts(store)
        work = (
            self.stored.run(),
            _prune(store, config.state.retention),
            self.oplog.run(),
            strays.warn(config, store),
            backfills.run(),
            pauses.run(),
            self._begin_backfills(client, backfills),
        )
        aside = [asyncio.create_task(_aside(each)) for each in work]
        try:
            await engine.run(streams)
        finally:
            await cancel(*aside)

    async def _begin_backfills(self, client: Any, backfills: Backfills) -> None:
        """Let documents be read once a process that was replaced cannot deliver any more."""
        if backfills.started is None:
            await asyncio.sleep(ALIVE_SECONDS + self.config.shutdown_grace)
            backfills.started = await self._reach(client, time_now)

    def _keeper(self, client: Any, store: StateStore) -> Keeper:
        if self.config.on_history_lost != "backfill":
            return store
        return HealingKeeper(store, partial(self._existing, client))

    async def _existing(self, client: Any, only: Callable[[Namespace], bool]) -> Sequence[Facts]:
        return await self._reach(client, partial(existing, config=self.config, only=only))

    async def _arrange(self, client: Any, store: StateStore, *, known: bool) -> Outlook:
        """Determine the streams and where they begin, and store that before any event is delivered. Raises
        DamagedState."""
        found = await outlook(self.config, self.plans, store, client, self._reach)
        arrangement = found.arrangement
        for start in arrangement.starts:
            if known and start.new:
                log.warning("no position for stream; starting from " + describe_start(self.config), stream=start.name)
        if wants_initial(self.config):
            await add_initial(store, self.config, found.known, partial(self._existing, client))
        announce = self.config.gaps == "deliver"
        await record_gaps(store, self._keeper(client, store), arrangement, announce=announce)
        await store_arrangement(store, arrangement.coverage, arrangement.positions())
        await close_gaps(store, arrangement, found.gaps)
        return found


@asynccontextmanager
async def store_for(
    config: Config, connect: Connect = reach, *, lasting: bool = True, retry_for: float = RETRY_FOR
) -> AsyncIterator[StateStore]:
    """Open the relay's state, and close it at the end.

    `connect` waits for the MongoDB that keeps the state. For `lasting` see `StateStore.open`. `retry_for` is how many
    seconds a failing operation is retried.

    Raises StateError, SourceUnavailable if that MongoDB cannot be reached, NotPermitted if it refuses the user.
    """
    url = config.state.url or config.mongodb.url
    option = "state.url" if config.state.url else "mongodb.url"
    client = mongodb.connect(url, config.mongodb.driver, option=option) if in_mongodb(url) else None
    store = open_store(url, config.name, client and client.get_database(config.state.database), retry_for=retry_for)
    try:
        if client is not None:
            await connect(client, answer)
        await store.open(lasting=lasting)
        yield store
    finally:
        await store.close()
        if client is not None:
            await mongodb.close(client)


async def _aside(work: Coroutine[Any, Any, None]) -> None:
    """Run a task that delivery does not depend on. If it fails, log that and let the relay continue."""
    try:
        await work
    except Exception:
        log.exception("a background task has failed; delivery continues. Please report this")


async def _prune(store: StateStore, retention: Any) -> None:
    while True:
        try:
            await store.prune(retention.max_age, retention.max_count)
        except StateError as error:
            log.warning("old dead letters cannot be removed at present", error=str(error))
        await asyncio.sleep(3600)
