"""The state stores, each over a real place of storage."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from mess.state import StateStore
from mess.state.mongo import MongoStore
from mess.state.sqlite import SqliteStore

Opener = Callable[..., Any]
_numbers = itertools.count()


@pytest.fixture
def database_name(replica_set: Any) -> Any:
    """A database of the test's own, gone after it."""
    name = f"mess_state_{next(_numbers)}"
    with MongoClient(replica_set.url) as client:
        client.drop_database(name)
        yield name
        client.drop_database(name)


@pytest.fixture(params=["pymongo", "motor", "sqlite"])
async def another(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens one more store on the same place, as another process would: `await another(relay="mess")`."""
    async with AsyncExitStack() as stack:

        async def opener(relay: str = "mess", lasting: bool = True) -> StateStore:
            store: StateStore
            if request.param == "sqlite":
                store = SqliteStore(tmp_path / "state.db", relay)
            else:
                url = request.getfixturevalue("replica_set").url
                client: Any
                if request.param == "motor":
                    client = AsyncIOMotorClient(url)
                    stack.callback(client.close)
                else:
                    client = AsyncMongoClient(url)
                    stack.push_async_callback(client.close)
                store = MongoStore(client[request.getfixturevalue("database_name")], relay)
            await store.open(lasting=lasting)
            stack.push_async_callback(store.close)
            return store

        yield opener


@pytest.fixture
async def store(another: Opener) -> StateStore:
    """A store, opened and not yet taken over."""
    opened: StateStore = await another()
    return opened
