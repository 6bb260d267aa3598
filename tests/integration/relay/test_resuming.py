"""What is stored, and what a relay makes of it when it starts again."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.demo.mongod import MongodMissing, find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.errors import HistoryLost, Superseded
from mess.relay.positions import resume_at
from mess.stores import store_for
from tests.conftest import server_missing
from tests.integration.history import forget_beginning
from tests.integration.relay.conftest import PATIENCE, Lab


def state(lab: Lab, kind: str) -> dict[str, Any]:
    return {"state": {"url": f"sqlite:///{lab.folder}/state.db"}} if kind == "sqlite" else {}


def keys(lab: Lab) -> list[Any]:
    return [event.body["documentKey"]["_id"] for event in lab.receiver.accepted]


@pytest.mark.parametrize("kind", ["mongodb", "sqlite"])
async def test_it_goes_on_behind_the_checkpoint(lab: Lab, kind: str) -> None:
    """After an orderly stop nothing is lost, and nothing comes twice."""
    options = state(lab, kind)
    for first in range(0, 60, 20):
        lab.db.orders.insert_many([{"_id": first + n} for n in range(10)]) if first else None
        async with lab.running(**options):
            lab.db.orders.insert_many([{"_id": first + n} for n in range(10, 20)])
            await lab.receiver.wait_for_events(first + 20 - 10)
        [checkpoint] = await lab.checkpoints(**options)
        assert checkpoint.position.token is not None
    assert sorted(keys(lab)) == list(range(10, 60))
    if kind == "sqlite":
        assert f"{lab.db.name}-state" not in lab.db.client.list_database_names()


async def test_a_stop_amid_deliveries_loses_nothing(lab: Lab) -> None:
    """Events that were not delivered yet come after the next start."""
    arrived = 0

    def hold(request: Any) -> Any:
        nonlocal arrived
        arrived += 1
        return dataclasses.replace(lab.receiver.answer, status=503 if arrived > 30 else 200)

    lab.receiver.respond = hold
    async with lab.running():
        lab.db.orders.insert_many([{"_id": n} for n in range(100)])
        await lab.receiver.wait_for(40)
    assert len(keys(lab)) < 100
    lab.receiver.respond = None
    async with lab.running():
        await lab.receiver.wait_for_events(100)
    assert sorted(set(keys(lab))) == list(range(100))


async def test_the_first_position_is_stored_before_the_first_event_is_delivered(lab: Lab) -> None:
    """What happens while a new relay cannot deliver anything comes after the next start."""
    lab.receiver.answer = dataclasses.replace(lab.receiver.answer, status=503)
    async with lab.running():
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for(1)
    lab.db.orders.insert_one({"_id": 2})
    lab.receiver.answer = dataclasses.replace(lab.receiver.answer, status=200)
    async with lab.running():
        await lab.receiver.wait_for_events(2)
    assert sorted(keys(lab)) == [1, 2]


def chosen(*names: str, **options: Any) -> dict[str, Any]:
    return {"collections": dict.fromkeys(names, options)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (chosen("a", "b"), {"collections": {"a": {}, "b": {"full_document": "off"}}}),
        ({"collections": {"a": {}, "b": {"full_document": "off"}}}, chosen("a", "b")),
        (chosen("a", "b"), {}),
        ({}, chosen("a", "b")),
        (chosen("a", "b"), chosen("a", "b", match={"fullDocument.n": {"$gte": 0}})),
        (chosen("a", "b"), chosen("a", "b", "c")),
        (chosen("a", "b", "c"), chosen("a", "b")),
        (chosen("a", "b"), chosen("*")),
    ],
    ids=["split", "merge", "all", "choose", "match", "added", "removed", "glob"],
)
async def test_a_rearranged_config_loses_nothing(lab: Lab, before: dict[str, Any], after: dict[str, Any]) -> None:
    async with lab.running(databases={lab.db.name: before}):
        lab.db.a.insert_one({"_id": "a1", "n": 1})
        lab.db.b.insert_one({"_id": "b1", "n": 1})
        seen = {event.body["documentKey"]["_id"]: event.id for event in await lab.receiver.wait_for_events(2)}
    lab.db.a.insert_one({"_id": "a2", "n": 2})
    lab.db.b.insert_one({"_id": "b2", "n": 2})
    async with lab.running(databases={lab.db.name: after}):
        lab.db.a.insert_one({"_id": "a3", "n": 3})
        lab.db.b.insert_one({"_id": "b3", "n": 3})
        events = await lab.receiver.wait_for_events(6)
    assert set(keys(lab)) == {"a1", "a2", "a3", "b1", "b2", "b3"}
    # What comes twice comes under the id it had.
    again = {event.body["documentKey"]["_id"]: event.id for event in events}
    assert {key: again[key] for key in seen} == seen


async def test_an_added_collection_begins_at_start_not_at_the_others_checkpoint(lab: Lab) -> None:
    async with lab.running(databases={lab.db.name: chosen("a")}):
        lab.db.a.insert_one({"_id": "a1"})
        await lab.receiver.wait_for_events(1)
    lab.db.c.insert_one({"_id": "nobody asked"})
    lab.db.a.insert_one({"_id": "a2"})
    async with lab.running(databases={lab.db.name: chosen("a", "c")}):
        lab.db.c.insert_one({"_id": "c2"})
        await lab.receiver.wait_for_events(3)
    assert set(keys(lab)) == {"a1", "a2", "c2"}


async def test_of_two_relays_with_one_name_the_older_stops(lab: Lab) -> None:
    older = lab.relay(checkpoint={"interval": "50ms"})
    running = asyncio.create_task(older.run())
    await asyncio.wait_for(older.ready(), PATIENCE)
    async with lab.running():
        lab.db.orders.insert_one({"_id": 1})
        with pytest.raises(Superseded, match=lab.db.name):
            await asyncio.wait_for(running, PATIENCE)
        lab.db.orders.insert_one({"_id": 2})
        await lab.receiver.wait_for_events(2)


async def test_a_second_relay_with_another_name_takes_nothing_away(lab: Lab) -> None:
    async with lab.running(), lab.running(name=f"{lab.db.name}-2"):
        lab.db.orders.insert_one({"_id": 1})
        requests = await lab.receiver.wait_for(2)
    assert len({request.events[0].id for request in requests}) == 1


async def test_history_lost_stops_or_is_recorded_as_the_config_says(lab: Lab) -> None:
    try:
        find_mongod()
    except MongodMissing as error:
        server_missing(str(error))
    # Starting and stopping servers blocks, and nothing else runs meanwhile.
    with ReplicaSet(1) as forgetful, MongoClient[dict[str, Any]](forgetful.url) as client:
        forget_beginning(forgetful)
        options: dict[str, Any] = {"mongodb": {"url": forgetful.url}}
        async with lab.running(**options):
            pass
        async with store_for(lab.relay(**options).config) as store:
            await resume_at(store, (), Timestamp(1, 1), stream=None, force=False)
        with pytest.raises(HistoryLost):
            await asyncio.wait_for(lab.relay(**options).run(), PATIENCE)
        [gap] = await lab.gaps(**options)
        assert (gap.stream, gap.since, gap.open) == (lab.db.name, Timestamp(1, 1), True)
        async with lab.running(**options, on_history_lost="now"):
            deadline = time.monotonic() + PATIENCE
            while (gaps := await lab.gaps(**options)) and gaps[0].open:
                assert time.monotonic() < deadline, "the gap stays open"
            client[lab.db.name].orders.insert_one({"_id": "behind"})
            await lab.receiver.wait_for_events(1)
        [gap] = gaps
        assert gap.since == Timestamp(1, 1)
        assert gap.until is not None
        assert gap.until.time > 1_700_000_000
