"""A position that the oplog no longer holds is never passed over in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.demo.mongod import MongodMissing, find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.errors import HistoryLost
from mess.event import Position
from tests.conftest import server_missing
from tests.integration.capture.reading import Watching, watching
from tests.integration.history import forget_beginning

BEGINNING = Position(None, Timestamp(1, 1))
TOKEN = Position({"_data": "82" + "00000001" * 2 + "2B022C0100296E04"}, Timestamp(1, 1))

positions = pytest.mark.parametrize("position", [BEGINNING, TOKEN], ids=["time", "token"])


@pytest.fixture(scope="module")
def forgetful() -> Iterator[ReplicaSet]:
    """A replica set that has lost the beginning of its history."""
    try:
        find_mongod()
    except MongodMissing as error:
        server_missing(str(error))
    with ReplicaSet(1) as replica_set:
        forget_beginning(replica_set)
        yield replica_set


@pytest.fixture(params=["pymongo", "motor"])
async def watch(request: pytest.FixtureRequest, forgetful: ReplicaSet) -> AsyncIterator[Watching]:
    """Opens change streams on that set, with either driver."""
    async with watching(forgetful.url, request.param) as found:
        yield found


@positions
async def test_it_stops_and_says_how_to_go_on(watch: Watching, position: Position) -> None:
    async with watch.open({"shop": {}}, position) as reader:
        with pytest.raises(HistoryLost, match="mess checkpoints reset") as caught:
            await reader.read()
    assert "1970-01-01" in str(caught.value)
    assert caught.value.exit_code == 4


async def test_what_was_the_oldest_change_may_be_gone_when_the_stream_begins(
    watch: Watching, forgetful: ReplicaSet
) -> None:
    """As long as nothing is lost that must not be."""
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        key = client.market.orders.insert_one({}).inserted_id
        now: Timestamp = client.admin.command("ping")["operationTime"]
    async with watch.open({"market": {}}, BEGINNING, latest=now) as reader:
        await reader.take_to(key)
    assert not reader.lost
    async with watch.open({"market": {}}, BEGINNING, latest=Timestamp(2, 1)) as reader:
        with pytest.raises(HistoryLost):
            await reader.read()


@positions
async def test_it_tells_both_ends_of_the_gap_before_it_goes_on_from_now(
    watch: Watching, forgetful: ReplicaSet, position: Position
) -> None:
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        client.shop.orders.insert_one({"text": "in the gap"})
        async with watch.open({"shop": {}}, position, on_history_lost="now") as reader:
            batch = await reader.read()
            assert batch.lost is not None
            assert not batch.events
            assert batch.lost.since == position
            assert batch.lost.until == batch.position
            client.shop.orders.insert_one({"text": "behind"})
            [event] = await reader.take(1)
    assert event.body["fullDocument"]["text"] == "behind"
    assert len(reader.lost) == 1
