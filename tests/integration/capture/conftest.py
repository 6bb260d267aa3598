"""What the capture tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from mess.demo.replica_set import ReplicaSet
from tests.integration.capture.reading import Watching, watching


@pytest.fixture(params=["pymongo", "motor"])
async def watch(request: pytest.FixtureRequest, replica_set: ReplicaSet) -> AsyncIterator[Watching]:
    """Opens change streams on the shared replica set, with either driver."""
    async with watching(replica_set.url, request.param) as found:
        yield found


@pytest.fixture
def db(mongo: MongoClient[dict[str, Any]], database: str) -> Database[dict[str, Any]]:
    """A database that only this test uses."""
    return mongo[database]
