"""Whatever the relay does not deliver is a durable record, and with `gaps: deliver` receivers are told at its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from bson import Timestamp
from pymongo import AsyncMongoClient, MongoClient

from mess.demo.mongod import MongodMissing, find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.errors import ConfigError
from mess.relay.backfill_request import new_backfills
from mess.relay.healing import healed, healing
from mess.relay.positions import forget, resume_at
from mess.stores import store_for
from tests.conftest import server_missing
from tests.integration.history import forget_beginning
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request
from tests.waiting import PATIENCE, until

BEGINNING = Timestamp(1, 1)


@pytest.fixture(scope="module")
def forgetful() -> Iterator[ReplicaSet]:
    """A replica set whose oplog no longer reaches back to its beginning."""
    try:
        find_mongod()
    except MongodMissing as error:
        server_missing(str(error))
    with ReplicaSet(1) as replica_set:
        forget_beginning(replica_set)
        yield replica_set


def told(lab: Lab) -> list[tuple[str, Any]]:
    bodies = [event.body for event in lab.receiver.accepted]
    return [(body["operationType"], body.get("documentKey", {}).get("_id")) for body in bodies]


def told_behind(lab: Lab) -> list[tuple[str, Any]]:
    requests = [each for each in lab.receiver.requests if each.path.endswith("/behind")]
    bodies = [event.body for each in requests for event in each.events]
    return [(body["operationType"], body["documentKey"]["_id"]) for body in bodies]


def reports(lab: Lab) -> list[Any]:
    return [event for event in lab.receiver.accepted if event.body["operationType"] == "mess.gap"]


async def test_lost_history_is_reported_where_the_changes_would_have_been(forgetful: ReplicaSet, lab: Lab) -> None:
    """Once, before everything that follows, under one id, also to a collection with an `operations` of its own; and
    never again after a restart."""
    collections = {"a": {"operations": ["insert"]}, "b*": {}}
    options: dict[str, Any] = {
        "mongodb": {"url": forgetful.url},
        "databases": {lab.db.name: {"collections": collections}},
    }
    deliver = {**options, "gaps": "deliver", "on_history_lost": "now"}
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        async with lab.running(**options):
            client[lab.db.name].a.insert_one({"_id": "before"})
            await lab.receiver.wait_for_events(1)
        async with store_for(lab.relay(**options).config) as store:
            await resume_at(store, (), BEGINNING, stream=None, force=False)
        lab.receiver.respond = lambda request: Answer(503 if request.json["operationType"] == "mess.gap" else 200)
        async with lab.running(**deliver):
            client[lab.db.name].a.insert_one({"_id": "behind"})
            await until(
                lambda: any(each.json["operationType"] == "mess.gap" for each in lab.receiver.requests), "a try"
            )
        assert told(lab) == [("insert", "before")], "what follows has waited"
        lab.receiver.respond = lambda request: Answer()
        async with lab.running(**deliver) as relay:
            await until(lambda: ("insert", "behind") in told(lab), "the change behind it")
            status = json.loads((await lab.get(relay, "/status"))[1])["gaps"]
            metrics = (await lab.get(relay, "/metrics"))[1]
        async with lab.running(**deliver):
            client[lab.db.name].a.insert_one({"_id": "last"})
            await until(lambda: ("insert", "last") in told(lab), "the last change")
    assert told(lab) == [
        ("insert", "before"),
        ("mess.gap", None),
        ("mess.gap", None),
        ("insert", "behind"),
        ("insert", "last"),
    ]
    [gap] = await lab.gaps(**options)
    assert (gap.kind, gap.since, gap.unannounced) == ("history_lost", BEGINNING, ())
    bodies = {each.body["gap"]["namespaces"]: each.body for each in reports(lab)}
    assert {name: body["ns"] for name, body in bodies.items()} == {
        f"{lab.db.name}.a": {"db": lab.db.name, "coll": "a"},
        f"{lab.db.name}.b*": {"db": lab.db.name},
    }
    body = bodies[f"{lab.db.name}.a"]
    assert (body["gap"]["id"], body["gap"]["kind"], body["gap"]["count"]) == (gap.id, "history_lost", None)
    assert (body["gap"]["since"]["t"], body["gap"]["until"]["t"]) == (1, gap.until.time if gap.until else None)
    first = [each for each in lab.receiver.requests if each.json["operationType"] == "mess.gap"]
    assert {request.events[0].id for request in first} == {each.id for each in reports(lab)}
    assert (status["count"], status["newest"][0]["id"]) == (1, gap.id)
    assert 'mess_gaps{kind="history_lost"} 1.0' in metrics
    assert 'mess_gaps{kind="skipped"} 0.0' in metrics


async def test_a_stopped_stream_reports_its_gap_when_an_operator_lets_it_continue(
    forgetful: ReplicaSet, lab: Lab
) -> None:
    """Before its first change, in the running relay; the other streams' receivers hear nothing of it."""
    options: dict[str, Any] = {"mongodb": {"url": forgetful.url}, "gaps": "deliver"}
    healthy = f"{lab.db.name}-healthy"
    every = {lab.db.name: {}, healthy: {}}
    async with lab.running(**options, databases=every):
        pass
    config = lab.relay(**options).config
    async with store_for(config) as store:
        await resume_at(store, (), BEGINNING, stream=lab.db.name, force=False)
    with MongoClient[dict[str, Any]](forgetful.url) as client:
        async with lab.running(**options, databases=every) as relay:
            await until(lambda: any(each.problem for each in relay.sources), "it stops")
            assert reports(lab) == []
            latest = client.admin.command("ping")["operationTime"]
            async with store_for(config) as store:
                await resume_at(store, (), Timestamp(latest.time, latest.inc + 1), stream=lab.db.name, force=False)
            await until(lambda: not any(each.problem for each in relay.sources), "it continues")
            client[lab.db.name].orders.insert_one({"_id": "after"})
            await until(lambda: ("insert", "after") in told(lab), "the change")
    assert told(lab) == [("mess.gap", None), ("insert", "after")]
    [report] = reports(lab)
    assert report.body["ns"] == {"db": lab.db.name}
    [gap] = await lab.gaps(**options)
    assert (gap.open, gap.unannounced, gap.since) == (False, (), BEGINNING)
    assert report.body["gap"]["until"]["t"] == latest.time


async def test_what_a_running_stream_loses_names_its_collections(lab: Lab) -> None:
    """The record of a loss that a stream notices says what it is about."""
    from mess.capture.source import Batch, LostHistory
    from mess.event import Position
    from mess.leadership import ALWAYS
    from mess.relay.gaps import StreamGaps
    from mess.relay.ha.leading import leading
    from mess.relay.stopping import Stopping

    async with store_for(lab.relay().config) as store, lab.running() as relay:
        streams = relay.streams
        assert streams is not None
        [stream] = streams.streams
        assert stream.runner is not None
        gaps = StreamGaps(
            stream.start,
            stream.runner.source,
            streams.claim(stream.name),
            store,
            deliver=True,
            leading=partial(leading, ALWAYS, Stopping()),
        )
        until_ = Position(None, Timestamp(9, 1))
        batch = await gaps.passed(Batch((), until_, lost=LostHistory(Position(None, Timestamp(5, 1)), until_, "gone")))
        [event] = batch.events
        assert (event.operation, event.change["ns"]) == ("mess.gap", {"db": lab.db.name})
    [gap] = await lab.gaps()
    assert set(gap.namespaces) == {f"{lab.db.name}.*", f"{lab.db.name} (database events)"}


async def test_changes_that_cannot_be_read_are_reported_at_their_place(lab: Lab) -> None:
    """Consecutive ones are one gap; each is reported by itself, under an id of its own."""
    lab.db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    options = {"gaps": "deliver", "full_document_before_change": "when_available", "full_document": "when_available"}
    async with lab.running(**options):
        lab.db.orders.insert_one({"_id": "large", "text": "x" * (9 * 1024 * 1024)})
        for n in (1, 2):  # with both images, these events exceed 16 MB
            lab.db.orders.update_one({"_id": "large"}, {"$set": {"n": n}})
        lab.db.orders.insert_one({"_id": "after"})
        await until(lambda: ("insert", "after") in told(lab), "what follows")
    assert told(lab) == [
        ("insert", "large"),
        ("mess.gap", None),
        ("mess.gap", None),
        ("insert", "after"),
    ]
    [gap] = await lab.gaps()
    letters = await lab.dead_letters()
    assert (gap.kind, gap.stream, gap.count) == ("unreadable", lab.db.name, 2)
    assert [gap.first, gap.last] == [letter.id for letter in letters]
    assert gap.since is not None
    assert gap.until is not None
    assert gap.since < gap.until
    first, second = reports(lab)
    assert first.id != second.id
    assert [each.body["gap"]["until"]["i"] for each in (first, second)] == [gap.since.inc, gap.until.inc]
    assert {(each.body["gap"]["id"], each.body["gap"]["count"]) for each in (first, second)} == {(gap.id, 1)}


def refusing(request: Request) -> Answer:
    return Answer(422 if request.json.get("fullDocument", {}).get("bad") else 200)


@pytest.mark.parametrize("kind", ["mongodb", "sqlite"])
async def test_skipped_events_are_one_gap_that_heals(lab: Lab, kind: str) -> None:
    """Written no later than the position after them, with their number and both ends; healing sends the documents."""
    options: dict[str, Any] = {"pipeline": [{**lab.http, "on_failure": "skip", "retry": {"max_attempts": 1}}]}
    if kind == "sqlite":
        options["state"] = {"url": f"sqlite:///{lab.folder}/state.db"}
    lab.receiver.respond = refusing
    async with lab.running(**options) as relay:
        lab.db.orders.insert_many([{"_id": n, "bad": n % 2 == 0} for n in range(40)])
        await lab.receiver.wait_for_events(20)
        await until(lambda: relay.status.gaps_by_kind()["skipped"] == 1, "the record")
    [gap] = await lab.gaps(**options)
    assert (gap.kind, gap.pipeline, gap.step, gap.count) == ("skipped", "top level", "http", 20)
    assert gap.namespaces == (f"{lab.db.name}.orders",)
    assert gap.since is not None
    assert gap.until is not None
    assert gap.since <= gap.until
    skipped = {each.events[0].id for each in lab.receiver.requests if refusing(each).status == 422}
    assert {gap.first, gap.last} <= skipped
    lab.receiver.respond = lambda request: Answer()
    async with lab.running(**options) as relay, store_for(lab.relay(**options).config) as store:
        async with AsyncMongoClient[dict[str, Any]](lab.url) as client:
            found = await healing(client, relay.config, gap)
        backfills = await new_backfills(store, found.collections, found.request)
        assert [(each.namespace.coll, each.step, each.origin) for each in backfills] == [("orders", "http", gap.id)]
        for backfill in backfills:
            await store.add_backfill(backfill)
        with pytest.raises(ConfigError, match="is being sent already"):
            await new_backfills(store, found.collections, found.request)
        assert healed(gap, await store.backfills()) == "healing"
        async with asyncio.timeout(PATIENCE):
            while healed(gap, await store.backfills()) != "healed":
                lab.db.others.insert_one(
                    {}
                )  # documents are merged between changes, and while idle only from time to time
                await asyncio.sleep(0.2)
    assert {key for operation, key in told(lab) if operation == "read"} == set(range(40))


async def test_healing_reaches_the_steps_behind_the_one_that_skipped_and_what_is_skipped_again_is_another_gap(
    lab: Lab,
) -> None:
    """The event went no further, so those behind missed it as well."""
    behind = {"name": "http", "config": {"endpoint": f"{lab.receiver.url}/behind"}}
    options: dict[str, Any] = {"pipeline": [{**lab.http, "on_failure": "skip"}, behind]}

    def respond(request: Request) -> Answer:
        return Answer() if request.path.endswith("/behind") else refusing(request)

    lab.receiver.respond = respond
    async with lab.running(**options) as relay, store_for(lab.relay(**options).config) as store:
        lab.db.orders.insert_many([{"_id": 1, "bad": True}, {"_id": 2, "bad": False}])
        await until(lambda: relay.status.gaps_by_kind()["skipped"] == 1, "the record")
        await until(lambda: told_behind(lab) == [("insert", 2)], "the other one")
        gap = relay.status.gaps()[0]
        async with AsyncMongoClient[dict[str, Any]](lab.url) as client:
            found = await healing(client, relay.config, gap)
        assert found.request.step is None
        for backfill in await new_backfills(store, found.collections, found.request):
            await store.add_backfill(backfill)
        await until(lambda: relay.status.gaps_by_kind()["skipped"] == 2, "what is skipped again")
        await until(lambda: ("read", 2) in told_behind(lab), "the other document")
        async with asyncio.timeout(PATIENCE):
            while True:
                if healed(gap, await store.backfills()) == "healed":
                    break
                await asyncio.sleep(0.2)
        lab.receiver.respond = lambda request: Answer()
        lab.db.orders.update_one({"_id": 1}, {"$set": {"bad": False}})
        async with AsyncMongoClient[dict[str, Any]](lab.url) as client:
            found = await healing(client, relay.config, gap)
        for backfill in await new_backfills(store, found.collections, found.request):
            await store.add_backfill(backfill)
        await until(lambda: ("read", 1) in told_behind(lab), "the documents behind the step")
    gaps = {each.id: each for each in await lab.gaps(**options)}
    assert gaps[gap.id].count == 1
    assert sum(each.count or 0 for each in gaps.values()) == 2


async def test_positions_that_an_operator_moves_forward_are_a_gap_until_that_is_undone(lab: Lab) -> None:
    async with lab.running():
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
    [before] = await lab.checkpoints()
    since = before.position.time
    assert since is not None
    later = Timestamp(since.time + 1, 1)
    async with store_for(lab.relay().config) as store:
        await resume_at(store, (), later, stream=lab.db.name, force=False)
        [gap] = await store.gaps()
        assert (gap.kind, gap.since, gap.until, gap.open) == ("reset", since, later, False)
        assert f"{lab.db.name}.*" in gap.namespaces
        await resume_at(store, (), since, stream=lab.db.name, force=False)
        assert await store.gaps() == []

        async def now() -> Timestamp:
            return later

        await forget(store, (), now, stream=lab.db.name, force=False)
        [gap] = await store.gaps()
        assert (gap.kind, gap.since, gap.until) == ("reset", since, None)
    async with lab.running(gaps="deliver"):
        pass
    [gap] = await lab.gaps()
    assert gap.until is not None
    assert gap.until >= since
