"""The MongoDB that the demo uses: one of its own, or the user's."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from mess.capture import client as mongodb
from mess.capture.client import explain
from mess.capture.preflight import verify
from mess.capture.reach import CONNECT_SECONDS, reach
from mess.demo.replica_set import ReplicaSet
from mess.demo.screen import Screen
from mess.demo.shop import Shop
from mess.errors import SourceUnavailable
from mess.telemetry.redact import redact

_WRITE_MS = 5000
_DROP_SECONDS = 5.0
_EXISTING_ORDERS = 300
_BACKFILLS_SINCE = [5]  # MongoDB


@dataclass(frozen=True)
class Deployment:
    """Where the demo writes. `state` is the relay's `state.url`: None, which means the deployment itself, if it was
    started by the demo."""

    url: str
    database: str
    state: str | None
    about: str


@asynccontextmanager
async def deployment(url: str | None, folder: Path) -> AsyncIterator[Deployment]:
    """A replica set that ends with the demo, or the one at `url`. Raises MessError if none can be started."""
    if url is None:
        replica_set = ReplicaSet()
        try:
            await asyncio.to_thread(replica_set.start)
            about = f"{replica_set.url} (started for this demo; write to test-db yourself, too)"
            yield Deployment(url=replica_set.url, database="test-db", state=None, about=about)
        finally:
            await asyncio.to_thread(replica_set.close)
        return
    database = f"mess-demo-{secrets.token_hex(4)}"
    yield Deployment(
        url=url,
        database=database,
        state=f"sqlite:///{folder / 'state.db'}",
        about=f"{redact(url)}, database {database}",
    )


async def reached(url: str, seconds: float | None, screen: Screen, stop: asyncio.Event) -> None:
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


@asynccontextmanager
async def opened_shop(where: Deployment, screen: Screen, rate: float, *, seed: int | None) -> AsyncIterator[Shop]:
    """A shop that has some orders already, if MongoDB is new enough to send them; its database in the user's
    deployment is dropped at the end."""
    async with AsyncMongoClient[dict[str, Any]](where.url, serverSelectionTimeoutMS=_WRITE_MS) as client:
        shop = Shop(client[where.database], rate=rate, seed=seed)
        try:
            if (await client.server_info())["versionArray"] >= _BACKFILLS_SINCE:
                await shop.begin_with(_EXISTING_ORDERS)
                screen.existing = shop.existing.total()
                screen.say("shop", f"{screen.existing} documents are in {where.database} already")
            yield shop
        except PyMongoError as error:
            raise SourceUnavailable(f"the shop cannot write to MongoDB: {explain(error)}") from error
        finally:
            if where.state is not None:
                with contextlib.suppress(PyMongoError, TimeoutError):
                    async with asyncio.timeout(_DROP_SECONDS):
                        await client.drop_database(where.database)
