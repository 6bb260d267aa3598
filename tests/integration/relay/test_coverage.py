"""What a relay covers, and up to when, over real restarts: nothing is lost, and nobody waits for what others lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.app import Relay
from mess.demo.mongod import MongodMissing, find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.errors import HistoryLost
from mess.relay.positions import forget, resume_at, rows
from mess.stores import store_for
from tests.conftest import server_missing
from tests.integration.history import forget_beginning
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.waiting import PATIENCE, until


def state(lab: Lab, kind: str) -> dict[str, Any]:
    return {"state": {"url": f"sqlite:///{lab.folder}/state.db"}} if kind == "sqlite" else {}


def keys(lab: Lab) -> list[Any]:
    return [event.body["documentKey"]["_id"] for event in lab.receiver.accepted]


def chosen(*names: str, **options: Any) -> dict[str, Any]:
    return {"collections": dict.fromkeys(names, options)}


both_stores = pytest.mark.parametrize("kind", ["mongodb", "sqlite"])


@both_stores
async def test_collections_that_leave_and_come_back_lose_nothing(lab: Lab, kind: str) -> None:
    """In turn, with clean stops, and with changes to both at all times."""
    options = state(lab, kind)
    async with lab.running(**options, databases={lab.db.name: chosen("a", "b")}):
        pass
    for turn in range(6):
        watched, other = ("a", "b") if turn % 2 == 0 else ("b", "a")
        lab.db[watched].insert_one({"_id": f"{watched}-before-{turn}"})
        async with lab.running(**options, databases={lab.db.name: chosen(watched)}):
            lab.db[watched].insert_one({"_id": f"{watched}-{turn}"})
            lab.db[other].insert_one({"_id": f"{other}-{turn}"})
            await until(lambda: f"{watched}-{turn}" in keys(lab), "the watched one")  # noqa: B023
    async with lab.running(**options, databases={lab.db.name: chosen("a", "b")}):
        await lab.receiver.wait_for_events(18)
    found = keys(lab)
    assert sorted(set(found)) == sorted(
        {f"{each}-{turn}" for each in "ab" for turn in range(6)}
        | {f"{'ab'[turn % 2]}-before-{turn}" for turn in range(6)}
    )
    # What was the last at its cluster time may come again with another plan, and no more than that.
    assert len(found) <= 18 + 7


@both_stores
async def test_deploys_that_each_name_one_more_collection_do_not_make_the_state_grow(lab: Lab, kind: str) -> None:
    options = state(lab, kind)
    collections: dict[str, Any] = {"*": {}}
    sizes: list[int] = []
    for number in range(14):
        collections[f"c{number}"] = {"full_document": "off"}
        async with lab.running(**options, databases={lab.db.name: {"collections": collections}}):
            pass
        async with store_for(lab.relay(**options).config) as store:
            sizes.append(len(json.dumps((await store.positions()).coverage)))
    assert sizes[-1] < 3_000


@pytest.mark.parametrize("others", [{}, chosen("live", "tmp")], ids=["database", "both"])
async def test_a_rename_over_a_covered_collection_arrives_although_its_old_name_is_covered_only_later(
    lab: Lab, others: dict[str, Any]
) -> None:
    """Receivers that miss it would keep documents that no longer exist. What came before belongs to the old name."""
    async with lab.running(databases={lab.db.name: chosen("live")}):
        lab.db.live.insert_one({"_id": "old"})
        await lab.receiver.wait_for_events(1)
    lab.db.tmp.insert_one({"_id": "unseen"})
    lab.db.tmp.rename("live", dropTarget=True)
    lab.db.live.insert_one({"_id": "new"})
    async with lab.running(databases={lab.db.name: others}):
        await until(lambda: told(lab)[-1:] == [("insert", "new")], "the last change")
    first = list(dict.fromkeys(told(lab)))
    assert first == [("insert", "old"), ("rename", None), ("insert", "new")]


def told(lab: Lab) -> list[tuple[str, Any]]:
    bodies = [event.body for event in lab.receiver.accepted]
    return [(body["operationType"], body.get("documentKey", {}).get("_id")) for body in bodies]


async def test_a_collection_that_returns_far_behind_catches_up_beside_the_others_and_joins_them(lab: Lab) -> None:
    """In order per document, with nothing lost, while the others' changes arrive at once."""
    async with lab.running(databases={lab.db.name: chosen("a", "b")}):
        pass
    async with lab.running(databases={lab.db.name: chosen("a")}):
        await asyncio.sleep(7)
        for n in range(300):
            lab.db.b.update_one({"_id": n % 10}, {"$set": {"n": n}}, upsert=True)
        lab.db.a.insert_one({"_id": "marker"})
        await lab.receiver.wait_for_events(1)
    lab.receiver.respond = lambda request: Answer(delay=0.02 if request.json["ns"]["coll"] == "b" else 0)
    async with lab.running(databases={lab.db.name: chosen("a", "b")}, concurrency=4) as relay:
        assert len(relay.sources) == 2
        began = time.monotonic()
        lab.db.a.insert_one({"_id": "sibling"})
        await until(lambda: "sibling" in keys(lab), "the sibling")
        assert time.monotonic() - began < 2.5
        assert len(relay.sources) == 2, "the others have not waited for it"
        n = 300

        def write() -> None:
            nonlocal n
            lab.db.b.update_one({"_id": n % 10}, {"$set": {"n": n}})
            n += 1

        while len(relay.sources) == 2:
            write()
            await asyncio.sleep(0.1)
            assert time.monotonic() - began < 60
        for _ in range(20):
            write()
            await asyncio.sleep(0.01)
        await until(lambda: n - 1 in values(lab, "b"), "the last change")
    arrived = values(lab, "b")
    first = sorted(set(arrived), key=arrived.index)
    assert sorted(first) == list(range(n))
    for document in range(10):
        own = [each for each in first if each % 10 == document]
        assert own == sorted(own)
    [row] = [row async for row in _rows(lab)]
    assert row.stream == lab.db.name


def values(lab: Lab, coll: str) -> list[int]:
    found: list[int] = []
    for event in lab.receiver.accepted:
        if event.body["ns"]["coll"] == coll:
            inserted = event.body.get("fullDocument") if event.body["operationType"] == "insert" else None
            found.append((inserted or event.body["updateDescription"]["updatedFields"])["n"])
    return found


async def _rows(lab: Lab, **options: Any) -> Any:
    async with store_for(lab.relay(**options).config) as store:
        for row in await rows(store):
            yield row


@pytest.fixture
def forgetful() -> Iterator[ReplicaSet]:
    """A replica set that has lost the beginning of its history."""
    try:
        find_mongod()
    except MongodMissing as error:
        server_missing(str(error))
    with ReplicaSet(1) as replica_set:
        forget_beginning(replica_set)
        yield replica_set


BEGINNING = Timestamp(1, 1)


async def lose(
    lab: Lab,
    options: dict[str, Any],
    databases: dict[str, Any],
    stream: str | None = None,
    *,
    time: Timestamp = BEGINNING,
) -> None:
    """Have a relay cover this, and forget its position."""
    async with lab.running(**options, databases=databases):
        pass
    async with store_for(lab.relay(**options).config) as store:
        await resume_at(store, (), time, stream=stream, force=False)


@both_stores
async def test_one_lost_collection_of_fifty_stops_alone_and_continues_when_it_is_told_to(
    forgetful: ReplicaSet, lab: Lab, kind: str
) -> None:
    """Its gap is one record over restarts; the others deliver; a reset beside the running relay brings it back within
    five seconds, without a new epoch."""
    options: dict[str, Any] = {"mongodb": {"url": forgetful.url}, **state(lab, kind)}
    name = lab.db.name
    every = {name: chosen(*(f"c{n}" for n in range(50)))}
    lost = f"{name} (history lost)"
    await lose(lab, options, {name: chosen("c7")})
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        db = client[name]
        for run in range(3):
            async with lab.running(**options, databases=every) as relay:
                db.c1.insert_one({"_id": f"healthy-{run}"})
                db.c7.insert_one({"_id": f"lost-{run}"})
                await until(lambda: f"healthy-{run}" in keys(lab), "a healthy one")  # noqa: B023
                assert (await lab.get(relay, "/readyz"))[0] == 503
                status = json.loads((await lab.get(relay, "/status"))[1])
                assert {each["name"]: each["stopped"] for each in status["streams"]} == {name: False, lost: True}
                assert f'mess_stream_stopped{{stream="{lost}"}} 1.0' in (await lab.get(relay, "/metrics"))[1]
                [gap] = await lab.gaps(**options)
                assert (gap.stream, gap.since, gap.open) == (lost, BEGINNING, True)
                assert [each for each in gap.namespaces if not each.endswith("events)")] == [f"{name}.c7"]
                if run < 2:
                    continue
                await _reset(relay, lost)
                async with asyncio.timeout(5):
                    await until(lambda: not any(each.problem for each in relay.sources), "it continues")
                db.c7.insert_one({"_id": "after"})
                await until(lambda: "after" in keys(lab), "the one that continues")
                await until(lambda: len(relay.sources) == 1, "it joins the others", PATIENCE)
    assert not [key for key in keys(lab) if str(key).startswith("lost")]
    [gap] = await lab.gaps(**options)
    assert not gap.open
    assert gap.until is not None


async def _reset(relay: Relay, stream: str) -> None:
    config = relay.config

    async def now() -> Timestamp:
        with MongoClient[dict[str, Any]](config.mongodb.url) as client:
            latest: Timestamp = client.admin.command("ping")["operationTime"]
            return Timestamp(latest.time, latest.inc + 1)

    async with store_for(config) as store:
        await forget(store, (), now, stream=stream, force=False)


async def test_a_lost_database_stops_no_other_and_the_relay_only_when_none_is_left(
    forgetful: ReplicaSet, lab: Lab
) -> None:
    options: dict[str, Any] = {"mongodb": {"url": forgetful.url}}
    healthy = f"{lab.db.name}-healthy"
    await lose(lab, options, {lab.db.name: {}, healthy: {}}, stream=lab.db.name)
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        async with lab.running(**options, databases={lab.db.name: {}, healthy: {}}):
            client[healthy].orders.insert_one({"_id": "healthy"})
            await until(lambda: "healthy" in keys(lab), "the healthy one")
        with pytest.raises(HistoryLost, match="mess checkpoints reset --stream") as caught:
            async with asyncio.timeout(PATIENCE):
                await lab.relay(**options, databases={lab.db.name: {}}).run()
        assert caught.value.exit_code == 4
        async with lab.running(**options, databases={lab.db.name: {}, healthy: {}}, on_history_lost="now"):
            client[lab.db.name].orders.insert_one({"_id": "behind"})
            await until(lambda: "behind" in keys(lab), "the one that was lost")
    [gap] = await lab.gaps(**options)
    assert (gap.stream, gap.open) == (lab.db.name, False)


@both_stores
async def test_a_gap_begins_where_the_loss_did_however_often_the_stream_is_told_to_continue(
    forgetful: ReplicaSet, lab: Lab, kind: str
) -> None:
    """Times that are lost as well, before a start and beside the running relay, are no ends of the gap."""
    options: dict[str, Any] = {"mongodb": {"url": forgetful.url}, **state(lab, kind)}
    healthy = f"{lab.db.name}-healthy"
    every = {lab.db.name: {}, healthy: {}}
    since = Timestamp(5, 1)
    await lose(lab, options, every, stream=lab.db.name, time=since)
    config = lab.relay(**options).config

    async def decide(time: Timestamp) -> None:
        async with store_for(config) as store:
            await resume_at(store, (), time, stream=lab.db.name, force=False)

    async def stopped_at(relay: Relay, time: Timestamp) -> None:
        text = time.as_datetime().isoformat()
        await until(lambda: any(text in str(each.problem) for each in relay.sources), f"it has stopped at {text}")
        async with asyncio.timeout(PATIENCE):
            while [(each.open, each.resume) for each in await lab.gaps(**options)] != [(True, None)]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async with lab.running(**options, databases=every) as relay:
        await stopped_at(relay, since)
        for time in (Timestamp(3, 1), Timestamp(7, 1)):
            await decide(time)
            await stopped_at(relay, time)
    for time in (Timestamp(2, 1), Timestamp(9, 1)):
        await decide(time)
        async with lab.running(**options, databases=every) as relay:
            await stopped_at(relay, time)
    [gap] = await lab.gaps(**options)
    assert (gap.stream, gap.since, gap.open) == (lab.db.name, since, True)
    await decide(Timestamp(2, 1))
    async with lab.running(**options, databases=every, on_history_lost="now"):
        pass
    [gap] = [each for each in await lab.gaps(**options) if each.since == since]
    assert gap.until is not None
    assert gap.until > Timestamp(1_000_000_000, 1)  # when it really continued


async def test_the_last_decision_about_a_stopped_stream_holds(forgetful: ReplicaSet, lab: Lab) -> None:
    """A position that is set afterwards is not passed over for an earlier decision."""
    options: dict[str, Any] = {"mongodb": {"url": forgetful.url}}
    await lose(lab, options, {lab.db.name: {}})
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        with pytest.raises(HistoryLost):
            await lab.relay(**options, databases={lab.db.name: {}}).run()
        before: Timestamp = client.admin.command("ping")["operationTime"]
        client[lab.db.name].orders.insert_one({"_id": "between"})
        async with store_for(lab.relay(**options).config) as store:
            late = Timestamp(before.time + 5, 1)
            assert list(await resume_at(store, (), late, stream=lab.db.name, force=False)) == [lab.db.name]
            await resume_at(store, (), before, stream=None, force=False)
        async with lab.running(**options, databases={lab.db.name: {}}):
            await until(lambda: "between" in keys(lab), "what came after the position that was set")
