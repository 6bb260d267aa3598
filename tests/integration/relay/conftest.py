"""Relays that run in the test's own process, between a real MongoDB and a real HTTP receiver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from mess import Relay
from mess.demo.replica_set import ReplicaSet
from mess.state.store import Checkpoint, DeadLetter, Gap
from mess.stores import store_for
from tests.receiver import Receiver
from tests.waiting import PATIENCE

FAST = {"first": "10ms", "cap": "50ms"}


class Lab:
    """A database to watch, a folder for the config, and the receiver that `http` steps send to."""

    def __init__(self, url: str, db: Database[dict[str, Any]], folder: Path, receiver: Receiver) -> None:
        self.url = url
        self.db = db
        self.folder = folder
        self.receiver = receiver
        self.began: datetime = db.client.admin.command("ping")["operationTime"].as_datetime()

    @property
    def http(self) -> dict[str, Any]:
        """An entry of a pipeline that sends to the receiver, and tries again soon."""
        return {"name": "http", "config": {"endpoint": self.receiver.url}, "retry": FAST}

    def config(self, **options: Any) -> dict[str, Any]:
        """A config that sends every change of the database to the receiver, unless `options` say otherwise."""
        return {
            "name": self.db.name,
            "mongodb": {"url": self.url},
            "state": {"database": f"{self.db.name}-state"},
            "databases": {self.db.name: {}},
            "pipeline": [self.http],
            "admin": {"port": 0},
            **options,
        }

    def write(self, text: str, name: str = "config.yml") -> Path:
        """A file in the config's folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def relay(self, **options: Any) -> Relay:
        """A relay for `config(**options)`."""
        return Relay.from_config(self.write(json.dumps(self.config(**options)), "config.json"), environ={})

    @asynccontextmanager
    async def running(self, relay: Relay | None = None, **options: Any) -> AsyncIterator[Relay]:
        """A relay that reads its streams; stopped in order in the end."""
        relay = relay or self.relay(**options)
        task = asyncio.create_task(relay.run())
        ready = asyncio.create_task(relay.ready())
        try:
            await asyncio.wait({task, ready}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            assert ready.done(), relay.status.problems()
            yield relay
        finally:
            ready.cancel()
            relay.stop()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(task, return_exceptions=True)
        await task

    async def get(self, relay: Relay, path: str, **options: Any) -> tuple[int, str]:
        """Status and text of one of the admin server's pages."""
        assert relay.admin is not None
        async with aiohttp.ClientSession() as session, session.get(f"{relay.admin.url}{path}", **options) as got:
            return got.status, await got.text()

    async def checkpoints(self, **options: Any) -> list[Checkpoint]:
        """What is recorded of the streams."""
        async with store_for(self.relay(**options).config) as store:
            return await store.checkpoints()

    async def dead_letters(self, **options: Any) -> list[DeadLetter]:
        """The dead letters, whole, the oldest first."""
        async with store_for(self.relay(**options).config) as store:
            ids = [letter.id async for letter in store.dead_letters()]
            return [letter for id_ in reversed(ids) if (letter := await store.dead_letter(id_)) is not None]

    async def gaps(self, **options: Any) -> list[Gap]:
        """The recorded gaps."""
        async with store_for(self.relay(**options).config) as store:
            return await store.gaps()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything, unless it is told otherwise."""
    async with Receiver() as found:
        yield found


@pytest.fixture
def lab(
    replica_set: ReplicaSet, mongo: MongoClient[dict[str, Any]], database: str, tmp_path: Path, receiver: Receiver
) -> Iterator[Lab]:
    """A lab on the shared replica set."""
    yield Lab(replica_set.url, mongo[database], tmp_path, receiver)
    mongo.drop_database(f"{database}-state")
