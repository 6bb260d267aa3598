"""The demo: runs MongoDB, a shop that writes to it, the relay, and a request bin."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from rich.console import Console

from mess.app import Relay
from mess.capture import client as mongodb
from mess.capture.client import explain
from mess.capture.preflight import verify
from mess.capture.reach import CONNECT_SECONDS, reach
from mess.demo.bin import RequestBin
from mess.demo.mongod import find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.demo.screen import Screen
from mess.demo.shop import Shop
from mess.errors import SourceUnavailable
from mess.telemetry.logging import configure, redact

_READY_SECONDS = 20.0
_ARRIVE_SECONDS = 30.0
"""How long to wait for what has not arrived at the end. An idle MongoDB may take ten seconds to show where existing
documents belong."""
_WRITE_MS = 5000
_DROP_SECONDS = 5.0
_EXISTING_ORDERS = 300
_BACKFILLS_SINCE = [5]  # MongoDB
_CONFIG = """\
name: mess-demo
mongodb:
  url: "{url}"
databases:
  {database}: {{}}              # every collection, those created later too
backfill: initial            # and first the documents that exist, each at its place among the changes
pipeline:
  - name: http
    config: {{endpoint: "{endpoint}"}}
"""


@dataclass(frozen=True)
class _Deployment:
    """Where the demo writes. `state` is the relay's `state.url`: None, which means the deployment itself, if it was
    started by the demo."""

    url: str
    database: str
    state: str | None
    about: str


async def run_demo(
    *,
    seconds: float | None = None,
    url: str | None = None,
    rate: float = 4.0,
    seed: int | None = None,
    console: Console | None = None,
) -> bool:
    """Run until Ctrl-C, SIGTERM, or for `seconds` of writing; returns whether every event arrived.

    With `url` it watches that replica set instead of starting one, uses its own database there, and drops it at the
    end. `rate` is how many writes the shop makes per second; the same `seed` gives the same writes. Everything it
    created is removed at the end. Raises the MessError that prevents it from continuing.
    """
    configure("warning", "console")
    screen = Screen(console)
    with _stop_signal() as stop, tempfile.TemporaryDirectory(prefix="mess-demo-") as name:
        folder = Path(name)
        async with _deployment(url, folder) as deployment, RequestBin(screen.event) as requests:
            screen.say("mongodb", deployment.about)
            if url is not None:
                await _reach(url, seconds, screen, stop)
            screen.say("bin", f"{requests.url} receives the webhooks")
            if stop.is_set():
                return True
            relay = _relay(deployment, requests.url, folder, screen)
            return await _run(relay, deployment, requests, screen, stop, seconds=seconds, rate=rate, seed=seed)


async def _run(
    relay: Relay,
    deployment: _Deployment,
    requests: RequestBin,
    screen: Screen,
    stop: asyncio.Event,
    *,
    seconds: float | None,
    rate: float,
    seed: int | None,
) -> bool:
    async with _shop(deployment, screen, rate, seed) as shop:
        relaying = asyncio.create_task(relay.run(wait=0))
        try:
            await _first(relaying, _ready(relay), stop.wait())
            if not (stop.is_set() or relaying.done()):
                _announce(relay, deployment, screen, rate, seconds)
                pause = asyncio.sleep(seconds) if seconds is not None else asyncio.Event().wait()
                await _first(relaying, shop.run(), stop.wait(), pause)
                await _first(relaying, _arrived(shop, requests))
                if _missing(shop, requests) and (problems := relay.status.problems()):
                    raise SourceUnavailable("; ".join(problems))
        finally:
            relay.stop()
            await asyncio.wait({relaying})
    relaying.result()
    lost_existing = (shop.existing - requests.existing).total()
    return screen.summary(shop.written, requests.received, requests.again, lost_existing=lost_existing) == 0


@asynccontextmanager
async def _shop(deployment: _Deployment, screen: Screen, rate: float, seed: int | None) -> AsyncIterator[Shop]:
    """A shop that has some orders already, if MongoDB is new enough to send them; its database in the user's
    deployment is dropped at the end."""
    async with AsyncMongoClient[dict[str, Any]](deployment.url, serverSelectionTimeoutMS=_WRITE_MS) as client:
        shop = Shop(client[deployment.database], rate=rate, seed=seed)
        try:
            if (await client.server_info())["versionArray"] >= _BACKFILLS_SINCE:
                await shop.begin_with(_EXISTING_ORDERS)
                screen.existing = shop.existing.total()
                screen.say("shop", f"{screen.existing} documents are in {deployment.database} already")
            yield shop
        except PyMongoError as error:
            raise SourceUnavailable(f"the shop cannot write to MongoDB: {explain(error)}") from error
        finally:
            if deployment.state is not None:
                with contextlib.suppress(PyMongoError, TimeoutError):
                    async with asyncio.timeout(_DROP_SECONDS):
                        await client.drop_database(deployment.database)


async def _reach(url: str, seconds: float | None, screen: Screen, stop: asyncio.Event) -> None:
    """Wait for the user's MongoDB, for ten seconds or for the duration of the demo.

    Raises SourceError if it cannot be reached, or has no change streams.
    """
    client = mongodb.connect(url, option="--url")
    within = CONNECT_SECONDS if seconds is None else min(seconds, CONNECT_SECONDS)

    @cache  # each reason once
    def say(reason: str) -> None:
        screen.say("mongodb", reason)

    reaching = asyncio.create_task(reach(client, verify, within=within, say=say))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({reaching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if reaching.done():
            reaching.result()
    finally:
        for task in (reaching, stopped):
            task.cancel()
        await asyncio.gather(reaching, stopped, return_exceptions=True)
        await mongodb.close(client)


def _announce(relay: Relay, deployment: _Deployment, screen: Screen, rate: float, seconds: float | None) -> None:
    if relay.admin is not None:
        screen.say("relay", f"is ready; {relay.admin.url}/status and {relay.admin.url}/metrics report its state")
    how = f"for {seconds:g} seconds" if seconds is not None else "until Ctrl-C"
    screen.say("shop", f"now writes to {deployment.database}, {rate:g} times a second, {how}\n")


async def _first(relaying: asyncio.Task[None], *others: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first to end, then end the others except the relay. Raises the error of one that failed."""
    tasks = {asyncio.create_task(other) for other in others}
    try:
        done, _ = await asyncio.wait({relaying, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {relaying}:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ready(relay: Relay) -> None:
    """Return when the relay is ready. Raises SourceUnavailable if its MongoDB goes away meanwhile: it would wait for
    that forever."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await relay.ready()
    except TimeoutError as error:
        raise SourceUnavailable("; ".join(relay.status.problems()) or "the relay does not become ready") from error


async def _arrived(shop: Shop, requests: RequestBin) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ARRIVE_SECONDS):
            while _missing(shop, requests):
                await requests.next()


def _missing(shop: Shop, requests: RequestBin) -> bool:
    return bool(shop.written - requests.received or shop.existing - requests.existing)


def _relay(deployment: _Deployment, endpoint: str, folder: Path, screen: Screen) -> Relay:
    path = folder / "config.yml"
    content = _CONFIG.format(url=redact(deployment.url), database=deployment.database, endpoint=endpoint)
    path.write_text(content)
    screen.config(str(path), content)
    # These override the environment and .env, which belong to the user's own relay.
    overrides = {
        "mongodb.url": deployment.url,
        "state.url": deployment.state,
        "admin.host": "127.0.0.1",
        "admin.port": 0,
        "log.level": "warning",
    }
    return Relay.from_config(path, environ={}, overrides=overrides)


@asynccontextmanager
async def _deployment(url: str | None, folder: Path) -> AsyncIterator[_Deployment]:
    if url is None:
        find_mongod()
        replica_set = ReplicaSet()
        try:
            await asyncio.to_thread(replica_set.start)
            about = f"{replica_set.url} (started for this demo; write to test-db yourself, too)"
            yield _Deployment(url=replica_set.url, database="test-db", state=None, about=about)
        finally:
            await asyncio.to_thread(replica_set.close)
        return
    database = f"mess-demo-{secrets.token_hex(4)}"
    yield _Deployment(
        url=url,
        database=database,
        state=f"sqlite:///{folder / 'state.db'}",
        about=f"{redact(url)}, database {database}",
    )


@contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP (the terminal was closed) set; a second signal has its default
    effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def begin() -> None:
        stop.set()
        _restore(loop, signals)

    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, begin)
    try:
        yield stop
    finally:
        _restore(loop, signals)


def _restore(loop: asyncio.AbstractEventLoop, signals: tuple[signal.Signals, ...]) -> None:
    for number in signals:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
