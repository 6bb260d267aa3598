"""What commands are tried on: a database, a receiver that refuses, and a config between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import write
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that refuses everything."""
    async with Receiver(Answer(422, body=b"no such customer")) as found:
        yield found


@pytest.fixture
def db(mongo: MongoClient[dict[str, Any]], database: str) -> Iterator[Db]:
    """A database that only this test uses."""
    yield mongo[database]
    mongo.drop_database(f"{database}-state")


@pytest.fixture(params=["mongodb", pytest.param("sqlite", marks=pytest.mark.long)])
def config(request: pytest.FixtureRequest, tmp_path: Path, replica_set: ReplicaSet, db: Db, receiver: Receiver) -> Path:
    """A config that sends every change of that database to the receiver, with its state in either place."""
    state = {"database": f"{db.name}-state"}
    if request.param == "sqlite":
        state = {"url": f"sqlite:///{tmp_path}/state.db"}
    options = {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": state,
        "databases": {db.name: {}},
        "pipeline": [{"name": "http", "config": {"endpoint": receiver.url}}],
        "admin": {"port": free_port()},
    }
    return write(tmp_path, options)
