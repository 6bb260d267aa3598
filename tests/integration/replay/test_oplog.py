"""A stretch of the oplog, replayed between a real MongoDB and a real HTTP receiver."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.capture.selection import Narrowing
from mess.config.load import load
from mess.demo.replica_set import ReplicaSet
from mess.errors import ConfigError, HistoryLost, Stopped
from mess.event import Namespace
from mess.options.values import written_time
from mess.relay.stopping import Halted
from mess.replay.oplog import Extent, OplogReplay, Survey, replaying
from mess.stores import store_for
from tests.integration.history import forget_before, forget_beginning
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request
from tests.waiting import PATIENCE, until

ALL = Narrowing()
KEY = {"name": "field-map", "config": {"fields": {"documentKey": "documentKey"}}}
REFUSED = Answer(422, body=b"no such order")


def now() -> datetime:
    return datetime.now(timezone.utc)


@asynccontextmanager
async def opened(
    lab: Lab,
    *,
    since: datetime | None = None,
    to: datetime | None = None,
    within: Narrowing = ALL,
    step: str | None = None,
    **options: Any,
) -> AsyncIterator[OplogReplay]:
    """A replay of what came since the lab is there, unless the arguments say otherwise, with the config as `options`
    make it."""
    loaded = load(lab.relay(**options).loaded.path, environ={})
    extent = Extent(since or lab.began, to or now(), within, step)
    async with replaying(loaded, extent) as work:
        yield work


async def deliver(lab: Lab, work: OplogReplay, **options: Any) -> None:
    async with store_for(lab.relay(**options).config) as store:
        await asyncio.wait_for(work.deliver(store), 2 * PATIENCE)


async def replay(lab: Lab, **arguments: Any) -> tuple[Survey, OplogReplay]:
    """All of it, as `opened` takes it."""
    async with opened(lab, **arguments) as work:
        survey = await asyncio.wait_for(work.survey(), PATIENCE)
        options = {key: arguments[key] for key in arguments.keys() - {"since", "to", "within", "step"}}
        await deliver(lab, work, **options)
        return survey, work


def keys(lab: Lab) -> list[Any]:
    return [event.body["documentKey"]["_id"] for event in lab.receiver.accepted]


def replayed(requests: list[Request]) -> set[bool]:
    return {request.headers.get("mess-replay") == "true" for request in requests}


def committed(lab: Lab) -> datetime:
    """The cluster time of the latest change, to the second."""
    time: datetime = lab.db.client.admin.command("ping")["operationTime"].as_datetime()
    return time


async def next_second(lab: Lab) -> None:
    """Return when a change will be of a later second than all before."""
    last = committed(lab).timestamp()
    await until(lambda: time.time() >= last + 1, "the next second")


async def test_what_was_delivered_comes_again_with_its_ids_beside_a_running_relay(lab: Lab) -> None:
    """To the byte; and the relay goes on, with its own epoch, and says of nothing that it is replayed."""
    relays = lab.db.client[f"{lab.db.name}-state"].relays
    async with lab.running():
        lab.db.orders.insert_many({"_id": number, "n": number} for number in range(20))
        first = {request.headers["webhook-id"]: request for request in await lab.receiver.wait_for(20)}
        epochs = list(relays.find({}, {"epoch": 1}))
        del lab.receiver.requests[:]
        survey, work = await replay(lab)
        again = {request.headers["webhook-id"]: request for request in lab.receiver.requests}
        assert replayed(list(first.values())) == {False}
        assert replayed(list(again.values())) == {True}
        assert {id_: request.body for id_, request in again.items()} == {id_: first[id_].body for id_ in first}
        assert survey.events == {("top level", Namespace(lab.db.name, "orders")): 20}
        assert (work.complete, work.outcome.delivered) == (True, 20)
        assert list(relays.find({}, {"epoch": 1})) == epochs
        del lab.receiver.requests[:]
        lab.db.orders.insert_one({"_id": "new"})
        assert replayed(await lab.receiver.wait_for(1)) == {False}


@pytest.mark.parametrize("kind", ["mongodb", "sqlite"])
async def test_checkpoints_stay_as_they_are(lab: Lab, kind: str) -> None:
    """The relay goes on behind its own, as if there had been no replay."""
    options = {"state": {"url": f"sqlite:///{lab.folder}/state.db"}} if kind == "sqlite" else {}
    async with lab.running(**options):
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for(1)
    before = await lab.checkpoints(**options)
    lab.db.orders.insert_one({"_id": 2})
    await replay(lab, **options)
    assert await lab.checkpoints(**options) == before
    assert sorted(keys(lab)) == [1, 1, 2]
    async with lab.running(**options):
        await lab.receiver.wait_for(4)
    assert sorted(keys(lab)) == [1, 1, 2, 2]


async def test_nothing_is_recorded_under_a_name_that_never_ran(lab: Lab) -> None:
    lab.db.orders.insert_one({"_id": 1})
    await replay(lab)
    state = lab.db.client[f"{lab.db.name}-state"]
    assert {name: state[name].count_documents({}) for name in ("checkpoints", "relays")} == {
        "checkpoints": 0,
        "relays": 0,
    }


async def test_a_survey_sends_and_writes_nothing(lab: Lab) -> None:
    lab.db.orders.insert_one({"_id": 1})
    async with opened(lab) as work:
        survey = await work.survey()
    assert survey.events.total() == 1
    assert survey.oldest is not None
    assert survey.oldest <= now()
    assert lab.receiver.requests == []
    assert f"{lab.db.name}-state" not in lab.db.client.list_database_names()


async def test_both_bounds_are_inclusive_to_the_second(lab: Lab) -> None:
    times = []
    for number in range(4):
        await next_second(lab)
        lab.db.orders.insert_many([{"_id": number}, {"_id": number + 0.5}])
        times.append(committed(lab))
    late = timedelta(milliseconds=999)
    for since, to, expected in (
        (times[1], times[2], {1, 2}),
        (times[1] + late, times[2] + late, {1, 2}),
        (times[2], times[2], {2}),
        (times[3], times[3] + timedelta(days=1), {3}),
        (times[0], times[0] + late, {0}),
    ):
        del lab.receiver.requests[:]
        survey, _ = await replay(lab, since=since, to=to)
        assert sorted(keys(lab)) == sorted([*expected, *(key + 0.5 for key in expected)])
        assert survey.events.total() == len(keys(lab))


async def test_times_beyond_what_mongodb_counts(own_replica_set: ReplicaSet, lab: Lab) -> None:
    """From ever to ever is everything; a founding that the oplog remembers is its beginning."""
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        client[lab.db.name].orders.insert_one({"_id": 1})
    ever = datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)
    await replay(lab, since=ever[0], to=ever[1], mongodb={"url": own_replica_set.url})
    assert keys(lab) == [1]


@pytest.mark.parametrize(
    ("collections", "databases", "expected"),
    [
        ((), (), {"orders", "carts", "people", "dropped"}),
        (("orders",), (), {"orders"}),
        (("{db}.orders",), (), {"orders"}),
        (("{db}.*",), (), {"orders", "carts"}),
        (("c*", "people"), (), {"carts", "people"}),
        ((), ("{db}",), {"orders", "carts", "dropped"}),
        ((), ("{db}-*",), {"people"}),
        (("people",), ("{db}",), set()),
    ],
)
async def test_databases_and_collections_narrow_it(
    lab: Lab, collections: tuple[str, ...], databases: tuple[str, ...], expected: set[str]
) -> None:
    """By names and globs; what happens to a whole database is no collection's."""
    other = f"{lab.db.name}-crm"
    lab.db.orders.insert_one({"_id": "orders"})
    lab.db.carts.insert_one({"_id": "carts"})
    lab.db.client[other].people.insert_one({"_id": "people"})
    lab.db.client.drop_database(lab.db.name)
    within = Narrowing(*(tuple(name.format(db=lab.db.name) for name in names) for names in (databases, collections)))
    try:
        survey, work = await replay(lab, within=within, databases={lab.db.name: {}, f"{lab.db.name}-*": {}})
    finally:
        lab.db.client.drop_database(other)
    bodies = [request.json for request in lab.receiver.requests]
    told = {body["documentKey"]["_id"] for body in bodies if "documentKey" in body}
    told |= {"dropped" for body in bodies if body["operationType"] == "dropDatabase"}
    assert told == expected
    assert survey.events.total() == len(bodies) == work.outcome.delivered


async def test_what_the_config_does_not_watch(lab: Lab) -> None:
    with pytest.raises(ConfigError, match=rf"no database 'crm'; it watches: {lab.db.name}\.\*"):
        await replay(lab, within=Narrowing(("crm",)))


async def test_routing_and_queries_are_the_configs(lab: Lab) -> None:
    """What the config leaves out is neither counted nor sent; two streams and two pipelines make one replay."""
    databases = {
        lab.db.name: {
            "collections": {
                "orders": {"match": {"fullDocument.n": {"$gte": 5}}, "operations": ["insert"]},
                "carts": {"full_document": "off", "pipeline": [KEY, lab.http]},
            }
        }
    }
    lab.db.orders.insert_many({"_id": f"order {n}", "n": n} for n in range(10))
    lab.db.orders.update_many({}, {"$inc": {"n": 1}})
    lab.db.carts.insert_many({"_id": f"cart {n}"} for n in range(3))
    lab.db.others.insert_one({"_id": "other"})
    survey, work = await replay(lab, databases=databases)
    orders, carts = (Namespace(lab.db.name, name) for name in ("orders", "carts"))
    assert survey.events == {("top level", orders): 5, (f"{lab.db.name}.carts", carts): 3}
    assert sorted(keys(lab)) == [*(f"cart {n}" for n in range(3)), *(f"order {n}" for n in range(5, 10))]
    assert {tuple(event.body) for event in lab.receiver.accepted if "cart" in event.body["documentKey"]["_id"]} == {
        ("documentKey",)
    }
    assert work.complete


async def test_one_step_of_a_pipeline(lab: Lab) -> None:
    """With the transforms before it; no other sink, nothing behind it, and no pipeline that has it not."""
    second = {**lab.http, "config": {"endpoint": f"{lab.receiver.url}/second"}}
    third = {**lab.http, "config": {"endpoint": f"{lab.receiver.url}/third"}}
    databases = {lab.db.name: {"collections": {"orders": {}, "carts": {"pipeline": [lab.http]}}}}
    options: dict[str, Any] = {"databases": databases, "pipeline": [KEY, lab.http, second, third]}
    lab.db.orders.insert_one({"_id": 1})
    lab.db.carts.insert_one({"_id": 2})
    survey, _ = await replay(lab, step="http 2", **options)
    [request] = lab.receiver.requests
    assert request.path == "/hook/second"
    assert request.json == {"documentKey": {"_id": 1}}
    assert survey.events.total() == 1
    with pytest.raises(ConfigError, match=r"'http', 'http 2', 'http 3'$"):
        await replay(lab, step="http 4", **options)


async def test_a_letter_of_one_step_names_it_as_ever(lab: Lab) -> None:
    """So that it can be replayed from there."""
    second = {**lab.http, "config": {"endpoint": f"{lab.receiver.url}/second"}}
    lab.db.orders.insert_one({"_id": 1})
    lab.receiver.answer = REFUSED
    options: dict[str, Any] = {"pipeline": [lab.http, second]}
    await replay(lab, step="http 2", **options)
    [letter] = await lab.dead_letters(**options)
    assert letter.step == "http 2"


async def test_what_is_given_up_on(lab: Lab) -> None:
    """A dropped event is done, a refused one is a dead letter, where it is not to be skipped."""
    lab.write(
        "def pick(input, config, context):\n    return input if input['fullDocument']['n'] else None\n", "picks.py"
    )
    lab.receiver.respond = lambda request: REFUSED if request.json["fullDocument"]["n"] == 2 else Answer()
    lab.db.orders.insert_many({"_id": n, "n": n} for n in range(4))
    options: dict[str, Any] = {"plugins": {"pick": "picks:pick"}, "pipeline": ["pick", lab.http]}
    _, work = await replay(lab, **options)
    outcome = work.outcome
    assert (outcome.delivered, outcome.dropped, outcome.kept, outcome.skipped) == (2, 1, 1, 0)
    assert work.complete
    [letter] = await lab.dead_letters(**options)
    assert (letter.key, letter.step) == ({"_id": 2}, "http")
    options["pipeline"] = ["pick", {**lab.http, "on_failure": "skip"}]
    _, work = await replay(lab, **options)
    assert (work.outcome.delivered, work.outcome.kept, work.outcome.skipped) == (2, 0, 1)


async def test_a_refusal_that_is_to_stop_it(lab: Lab) -> None:
    """And where it can go on."""
    lab.db.orders.insert_one({"_id": 1})
    await next_second(lab)
    lab.db.orders.insert_one({"_id": 2})
    second = committed(lab)
    lab.receiver.respond = lambda request: REFUSED if request.json["documentKey"]["_id"] == 2 else Answer()
    pipeline = [{**lab.http, "on_failure": "stop"}]
    async with opened(lab, pipeline=pipeline) as work:
        await work.survey()
        with pytest.raises(Stopped, match="422"):
            await deliver(lab, work, pipeline=pipeline)
        assert not work.complete
        assert work.reached <= second


async def test_a_sink_that_is_down_holds_it(lab: Lab) -> None:
    """However long; then it goes on, and nothing is given up."""
    lab.receiver.answer = Answer(503)
    lab.db.orders.insert_many({"_id": n} for n in range(50))
    async with opened(lab) as work:
        await work.survey()
        running = asyncio.create_task(deliver(lab, work))
        await lab.receiver.wait_for(20)
        await lab.receiver.stop()
        lab.receiver.answer = Answer()
        assert not running.done()
        await lab.receiver.start()
        await running
    assert sorted(keys(lab)) == [*range(50)]
    assert work.complete
    assert await lab.dead_letters() == []


async def test_order_holds_within_it(lab: Lab) -> None:
    """At sixteen lanes, with answers that take their time at random and a fifth of them failures."""
    dice = random.Random(7)
    lab.receiver.respond = lambda request: Answer(dice.choice([200] * 4 + [500]), delay=dice.random() / 100)
    lab.db.orders.insert_many({"_id": key, "n": 0} for key in range(10))
    for _ in range(9):
        lab.db.orders.update_many({}, {"$inc": {"n": 1}})
    await replay(lab, concurrency=16)
    arrived: dict[Any, list[int]] = defaultdict(list)
    for event in lab.receiver.accepted:
        change = event.body.get("updateDescription", {}).get("updatedFields", {"n": 0})
        arrived[event.body["documentKey"]["_id"]].append(change["n"])
    assert arrived == {key: [*range(10)] for key in range(10)}


async def test_what_closes_a_stream_lies_in_it(lab: Lab) -> None:
    """A drop, a renaming, and a dropped database, by which MongoDB closes the stream: each in its turn, once."""
    for number in range(2):
        lab.db.orders.insert_many({"_id": key} for key in range(20))
        lab.db.orders.rename("archive")
        lab.db.archive.drop()
        lab.db.orders.insert_one({"_id": "last"})
        if not number:
            lab.db.client.drop_database(lab.db.name)
    survey, work = await replay(lab)
    kinds = [request.json["operationType"] for request in lab.receiver.requests]
    half = ["insert"] * 20 + ["rename", "drop", "insert"]
    assert kinds == [*half, "drop", "dropDatabase", *half]
    assert survey.events.total() == len(kinds)
    assert len({request.headers["webhook-id"] for request in lab.receiver.requests}) == len(kinds)
    assert work.complete


async def test_a_transaction_at_the_end_is_replayed_whole(lab: Lab) -> None:
    """All of its events have one cluster time, and come in several replies."""
    lab.db.create_collection("orders")
    with lab.db.client.start_session() as session, session.start_transaction():
        lab.db.orders.insert_many(({"_id": n} for n in range(1500)), session=session)
    survey, _ = await replay(
        lab, pipeline=[{**lab.http, "config": {**lab.http["config"], "batch": {"max_events": 500}}}]
    )
    assert survey.events.total() == 1500
    assert sorted(keys(lab)) == [*range(1500)]


async def test_it_can_be_interrupted_and_goes_on_there(lab: Lab) -> None:
    """What is done is not done again, but for the second that it stopped in."""
    for first in (0, 10):
        lab.db.orders.insert_many({"_id": first + n} for n in range(10))
        times = committed(lab)
        await next_second(lab)
    options: dict[str, Any] = {"concurrency": 1}
    async with opened(lab, **options) as work:
        await work.survey()
        lab.receiver.play([Answer()] * 14 + [Answer(delay=0.2)] * 6)
        running = asyncio.create_task(deliver(lab, work, **options))
        await lab.receiver.wait_for(15)
        work.stop()
        await running
        assert (work.stopping, work.complete) == (True, False)
        assert work.reached == times
    done = keys(lab)
    assert done == [*range(len(done))]
    assert 15 <= len(done) <= 20
    await replay(lab, since=work.reached, **options)
    assert keys(lab)[len(done) :] == [*range(10, 20)]


async def test_it_can_be_interrupted_while_it_counts(lab: Lab) -> None:
    lab.db.orders.insert_one({"_id": 1})
    async with opened(lab) as work:
        work.stop()
        with pytest.raises(Halted):
            await work.survey()


async def test_a_quiet_deployment_does_not_keep_it_waiting(own_replica_set: ReplicaSet, lab: Lab) -> None:
    """MongoDB itself writes to a quiet oplog only every ten seconds."""
    options: dict[str, Any] = {"mongodb": {"url": own_replica_set.url}}
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        client[lab.db.name].orders.insert_one({"_id": 1})
        for databases, count in (({lab.db.name: {}}, 1), ({"other": {}}, 0)):
            client.elsewhere.things.insert_one({})
            before = client.admin.command("ping")["operationTime"]
            began = time.monotonic()
            survey, work = await replay(lab, databases=databases, to=now() + timedelta(hours=1), **options)
            assert time.monotonic() - began < 5
            assert client.admin.command("ping")["operationTime"].time - before.time < 10
            assert (survey.events.total(), work.complete) == (count, True)


async def test_history_that_is_lost(own_replica_set: ReplicaSet, lab: Lab) -> None:
    """It says how far back the oplog reaches, and from there it can be replayed."""
    await asyncio.to_thread(forget_beginning, own_replica_set)
    options: dict[str, Any] = {"mongodb": {"url": own_replica_set.url}, "on_history_lost": "now"}
    with pytest.raises(HistoryLost, match=r"reaches back to .* --from 2") as caught:
        await replay(lab, **options)
    assert caught.value.exit_code == 4
    begin = datetime.fromisoformat(str(caught.value).rpartition("--from ")[2])
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        await until(lambda: now() > begin, "a time that the oplog holds")
        client[lab.db.name].orders.insert_one({"_id": 1})
    await replay(lab, since=begin, **options)
    assert keys(lab) == [1]


async def test_history_that_is_lost_amid_it(own_replica_set: ReplicaSet, lab: Lab) -> None:
    """A sink was down for so long that the oplog went on without it: what had been read is delivered, and it says what
    is lost, and where to begin again."""
    options: dict[str, Any] = {"mongodb": {"url": own_replica_set.url}, "window": {"max_events": 10}}
    lab.receiver.answer = Answer(503)
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        client[lab.db.name].orders.insert_many({"_id": n, "text": "x" * 1000} for n in range(20_000))
        later: Timestamp = client.admin.command("ping")["operationTime"]
        client.elsewhere.things.insert_one({})
    async with opened(lab, **options) as work:
        survey = await asyncio.wait_for(work.survey(), 3 * PATIENCE)
        running = asyncio.create_task(deliver(lab, work, **options))
        await lab.receiver.wait_for(1)
        await asyncio.to_thread(forget_before, own_replica_set, later)
        lab.receiver.answer = Answer()
        with pytest.raises(HistoryLost, match=r"no longer holds the changes from .* --from 2") as caught:
            await running
        reached = work.reached
    assert survey.events.total() == 20_000
    done = keys(lab)
    assert sorted(done) == [*range(len(done))]
    assert 10 <= len(done) < 20_000
    assert written_time(reached) in str(caught.value)


async def test_a_failover_amid_it_loses_nothing(three_nodes: ReplicaSet, lab: Lab) -> None:
    options: dict[str, Any] = {"mongodb": {"url": three_nodes.url}, "window": {"max_events": 100}}
    with MongoClient[dict[str, Any]](three_nodes.url, w="majority") as client:
        client[lab.db.name].orders.insert_many({"_id": n} for n in range(1000))
    async with opened(lab, **options) as work:
        survey = await asyncio.wait_for(work.survey(), PATIENCE)
        lab.receiver.answer = Answer(delay=0.05)
        running = asyncio.create_task(deliver(lab, work, **options))
        await lab.receiver.wait_for(100)
        killed = await asyncio.to_thread(three_nodes.kill_primary)
        lab.receiver.answer = Answer()
        await asyncio.wait_for(running, 2 * PATIENCE)
        await asyncio.to_thread(killed.start)
    assert survey.events.total() == 1000
    assert set(keys(lab)) == {*range(1000)}
    assert (work.complete, work.outcome.delivered) == (True, 1000)
    assert max(Counter(keys(lab)).values()) == 1
