"""A config that changes while the relay runs: only what has changed is replaced, and no event notices."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from pymongo import MongoClient

from mess import Relay
from mess.demo.replica_set import ReplicaSet
from mess.relay.reload_result import ReloadResult
from tests.fault.load import Ledger, Load, in_order
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request
from tests.waiting import until


async def reload(lab: Lab, relay: Relay, **options: Any) -> ReloadResult:
    """Write another config, and put it in force."""
    lab.write(json.dumps(lab.config(**options)), "config.json")
    return await relay.reload()


class Guarded(Ledger):
    """An endpoint that accepts only requests with the right key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.refused = 0

    def decide(self, request: Request) -> Answer:
        if request.headers.get("authorization") == self.key:
            return self.answer
        self.refused += 1
        return Answer(401)


def http(lab: Lab, key: str = "", **more: Any) -> dict[str, Any]:
    """The step that sends to the receiver with this key."""
    return {**lab.http, "config": {**lab.http["config"], "headers": {"Authorization": key}}, **more}


async def test_a_secret_that_the_sink_refuses_is_rotated(lab: Lab) -> None:
    """The sink answers 401 from some moment on: events wait. With the new secret they continue, each once and in order,
    and so do those that are committed meanwhile."""
    secret = lab.write("first-key\n", "secret")
    guarded = Guarded("first-key")
    lab.receiver.respond = guarded
    load = Load(lab.url, lab.db.name, documents=20, pause=0.01)
    async with lab.running(pipeline=[http(lab, f"${{file:{secret}}}")]) as relay:
        load.start()
        await until(lambda: len(guarded.changes) > 200, "the first changes")
        guarded.key = "second-key"
        await until(lambda: guarded.refused > 3 and load.total > len(guarded.changes) + 500, "a backlog")
        assert relay.status.sink_problems()
        secret.write_text("second-key\n")
        result = await relay.reload()
        assert result.ok, result
        assert "replaced pipeline top level" in result.text
        load.finish()
        await until(lambda: guarded.complete(load), "every change", 30)
        assert not relay.status.sink_problems()
        assert "second-key" not in str(relay.status.status())
    guarded.check(load)
    assert guarded.duplicates == 0
    assert in_order(guarded.entries)


async def test_nothing_changes_if_nothing_has_changed(lab: Lab) -> None:
    async with lab.running() as relay:
        [runner] = relay.step_runners
        result = await reload(lab, relay)
        assert (result.ok, result.text) == (True, ("nothing has changed",))
        assert relay.step_runners == [runner]
        assert relay.status.status()["last_reload"]["ok"] is True


async def test_a_config_with_mistakes_changes_nothing(lab: Lab) -> None:
    """All of them are named, and events continue to be delivered as before."""
    async with lab.running() as relay:
        [runner] = relay.step_runners
        result = await reload(lab, relay, pipeline=[{"name": "htp"}], windw={})
        assert not result.ok
        assert any("htp" in line for line in result.text)
        assert any("windw" in line for line in result.text)
        lab.write("pipeline: [", "config.json")
        assert not (await relay.reload()).ok
        assert relay.step_runners == [runner]
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        assert relay.status.status()["last_reload"]["ok"] is False


async def test_what_cannot_be_changed_is_refused_by_name(lab: Lab) -> None:
    """And nothing else of that config takes effect."""
    async with lab.running() as relay:
        [runner] = relay.step_runners
        result = await reload(
            lab,
            relay,
            name="another",
            state={"database": f"{lab.db.name}-other"},
            admin={"port": 0, "host": "127.0.0.2"},
            pipeline=[http(lab, "key")],
        )
        assert not result.ok
        assert result.text == (
            "name cannot be changed while the relay runs; restart it",
            "state.database cannot be changed while the relay runs; restart it",
            "admin.host cannot be changed while the relay runs; restart it",
        )
        assert relay.step_runners == [runner]
        assert relay.name == lab.db.name


async def test_reloads_at_any_time_lose_nothing_and_keep_the_order(lab: Lab) -> None:
    """A few documents are updated as fast as possible while the pipeline is replaced five times a second, each time
    with other lanes."""
    ledger = Ledger(Answer(delay=0.003))
    lab.receiver.respond = ledger
    load = Load(lab.url, lab.db.name, documents=7, pause=0.005)
    async with lab.running(pipeline=[http(lab)]) as relay:
        load.start()
        for number in range(25):
            await asyncio.sleep(0.2)
            result = await reload(lab, relay, pipeline=[http(lab, f"key-{number}")], concurrency=1 + number % 6)
            assert result.ok, result
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 60)
    ledger.check(load)
    assert ledger.duplicates == 0
    assert in_order(ledger.entries)


def collections(lab: Lab, **scopes: Any) -> dict[str, Any]:
    """The option `databases` with these collections of the database."""
    return {lab.db.name: {"collections": {name: scope or {} for name, scope in scopes.items()}}}


async def test_a_collection_is_added_removed_and_added_again(lab: Lab) -> None:
    """It begins with the reload that adds it, and after it was removed it continues where it stopped, as with a
    restart. The changes of the other one are delivered once and in order all along."""
    ledger = Ledger()
    lab.receiver.respond = ledger
    load = Load(lab.url, lab.db.name, documents=20, pause=0.01)
    async with lab.running(databases=collections(lab, counters={})) as relay:
        load.start()
        lab.db.orders.insert_one({"_id": "before", "n": 0})
        result = await reload(lab, relay, databases=collections(lab, counters={}, orders={}))
        assert result.ok, result
        assert f"arranged stream {lab.db.name} anew" in result.text
        lab.db.orders.insert_one({"_id": "first", "n": 0})
        await until(lambda: ("first", 0) in ledger.changes, "a change of the added collection")
        assert (await reload(lab, relay, databases=collections(lab, counters={}))).ok
        lab.db.orders.insert_one({"_id": "meanwhile", "n": 0})
        await asyncio.sleep(0.5)
        assert ("meanwhile", 0) not in ledger.changes
        assert (await reload(lab, relay, databases=collections(lab, counters={}, orders={}))).ok
        await until(lambda: ("meanwhile", 0) in ledger.changes, "the change while it was removed")
        load.finish()
        orders = {"first", "meanwhile"}
        await until(lambda: not load.running and len(ledger.changes) >= load.total + len(orders), "all changes", 30)
    assert {key for key, _ in ledger.changes if isinstance(key, str)} == orders
    assert ledger.duplicates == 0
    assert in_order(ledger.entries)


async def test_match_and_operations_change_under_load(lab: Lab) -> None:
    """Only what a config selects is delivered from then on; what both select is delivered once and in order."""
    ledger = Ledger()
    lab.receiver.respond = ledger
    load = Load(lab.url, lab.db.name, documents=20, pause=0.01)
    async with lab.running() as relay:
        load.start()
        for number in range(10):
            match = {} if number % 2 else {"match": {"documentKey._id": {"$lt": 10}}}
            result = await reload(lab, relay, **match)
            assert result.ok, result
            await asyncio.sleep(0.2)
        load.finish()
        await until(lambda: not load.running, "the end of the load", 30)
        expected = {(key, count) for key in range(10) for count in range(load.rounds)}
        await until(lambda: {each for each in ledger.changes if each[0] < 10} >= expected, "all changes", 30)
    assert ledger.duplicates == 0
    assert in_order(ledger.entries)


async def test_what_was_delivered_beyond_an_event_that_waits_is_not_sent_again(lab: Lab) -> None:
    """Whatever value orders the events: one waits, later ones are delivered, and then the stream is arranged anew."""
    lab.receiver.respond = lambda request: Answer(500 if request.json["documentKey"]["_id"] == "waits" else 200)
    keys = [0, "", False, 1, "a"]
    order = {"by": "documentKey._id"}
    async with lab.running(databases=collections(lab, orders={}), order=order) as relay:
        lab.db.orders.insert_many([{"_id": key} for key in ("waits", 0, "", 1, "a")])
        lab.db.orders.insert_one({"_id": False})
        await lab.receiver.wait_for_events(len(keys))
        result = await reload(lab, relay, databases=collections(lab, orders={}, others={}), order=order)
        assert result.ok, result
        lab.receiver.respond = None
        await lab.receiver.wait_for_events(len(keys) + 1)
        lab.db.orders.insert_one({"_id": "last"})
        await lab.receiver.wait_for_events(len(keys) + 2)
    assert set(Counter(event.id for event in lab.receiver.accepted).values()) == {1}


async def test_what_one_sink_has_accepted_is_not_sent_to_it_again(lab: Lab) -> None:
    """Of two sinks, the second one refuses its secret: its events wait there, and continue there."""
    first, second = Ledger(), Guarded("new-key")
    lab.receiver.respond = lambda request: (first if request.path == "/first" else second)(request)
    endpoint = lab.receiver.url.replace("/hook", "/first")
    steps = [{**http(lab), "config": {"endpoint": endpoint}}]
    load = Load(lab.url, lab.db.name, documents=20, pause=0.01)
    async with lab.running(pipeline=[*steps, http(lab, "old-key")]) as relay:
        load.start()
        await until(lambda: second.refused > 3 and len(first.changes) > 10 and load.total > 400, "a backlog")
        result = await reload(lab, relay, pipeline=[*steps, http(lab, "new-key")])
        assert result.ok, result
        load.finish()
        await until(lambda: first.complete(load) and second.complete(load), "every change", 30)
    for ledger in (first, second):
        ledger.check(load)
        assert ledger.duplicates == 0
        assert in_order(ledger.entries)


async def test_another_pipeline_is_not_disturbed(lab: Lab) -> None:
    """While one pipeline is replaced again and again, with requests in flight that take half a second, the other one
    delivers as before."""
    changing, other = Ledger(Answer(delay=0.5)), Ledger()
    lab.receiver.respond = lambda request: (changing if request.path == "/changing" else other)(request)
    slow = {**http(lab), "config": {"endpoint": lab.receiver.url.replace("/hook", "/changing")}}

    def options(number: int) -> dict[str, Any]:
        pipeline = [{**slow, "config": {**slow["config"], "headers": {"X-Version": str(number)}}}]
        return {"databases": collections(lab, orders={"pipeline": pipeline}, counters={"pipeline": [http(lab)]})}

    load = Load(lab.url, lab.db.name, documents=5, pause=0.01)
    async with lab.running(**options(0)) as relay:
        [kept] = [runner for runner in relay.step_runners if runner.pipeline.endswith("counters")]
        load.start()
        lab.db.orders.insert_many([{"_id": f"o{number}", "n": 0} for number in range(60)])
        await until(lambda: len(other.changes) > 100, "changes of the other pipeline")
        began = time.time()
        for number in range(1, 6):
            result = await reload(lab, relay, **options(number))
            assert result.ok, result
            assert f"replaced pipeline {lab.db.name}.orders" in result.text
            await asyncio.sleep(0.1)
        assert kept in relay.step_runners
        times = [entry.time for entry in other.entries if entry.time >= began]
        load.finish()
        await until(lambda: other.complete(load) and len(changing.changes) == 60, "all", 30)
    # If it waited for requests in flight, each of the five reloads would show; a busy machine has pauses of its own.
    assert sum(later - earlier > 0.4 for earlier, later in pairwise(times)) < 3
    assert len(times) > 100
    assert other.duplicates == changing.duplicates == 0


async def test_requests_in_flight_get_their_time_and_are_repeated_after_it(lab: Lab) -> None:
    """The result says so."""
    ledger = Ledger()
    lab.receiver.play([Answer(delay=1.0), Answer(hang=True)])
    lab.receiver.respond = ledger
    async with lab.running(shutdown_grace="3s", pipeline=[http(lab)]) as relay:
        lab.db.orders.insert_one({"_id": 1, "n": 0})
        await lab.receiver.wait_for(1)
        result = await reload(lab, relay, shutdown_grace="3s", pipeline=[http(lab, "second")])
        assert result.ok
        assert not any("cancelled" in line for line in result.text)
        lab.db.orders.insert_one({"_id": 2, "n": 0})
        await lab.receiver.wait_for(2)
        result = await reload(lab, relay, shutdown_grace="500ms", pipeline=[http(lab, "third")])
        assert result.ok
        assert any("1 delivery" in line and "repeated" in line for line in result.text)
        await until(lambda: (2, 0) in ledger.changes, "the delivery that was repeated")
    assert [request.headers["authorization"] for request in lab.receiver.requests[1:]] == ["second", "third"]
    assert len(lab.receiver.requests) == 3


async def test_several_reloads_at_once_follow_one_another(lab: Lab) -> None:
    async with lab.running() as relay:
        lab.write(json.dumps(lab.config(pipeline=[http(lab, "key")])), "config.json")
        results = await asyncio.gather(*(relay.reload() for _ in range(3)))
        assert [result.ok for result in results] == [True] * 3
        assert [result.text for result in results[1:]] == [("nothing has changed",)] * 2
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        assert lab.receiver.requests[0].headers["authorization"] == "key"


async def test_a_reload_while_the_relay_stops_changes_nothing(lab: Lab) -> None:
    """Nor does one that is under way keep it from stopping."""
    lab.receiver.answer = Answer(delay=1.0)
    async with lab.running() as relay:
        lab.db.orders.insert_many([{"_id": number} for number in range(50)])
        await lab.receiver.wait_for(1)
        before = relay.config.pipeline
        lab.write(json.dumps(lab.config(pipeline=[http(lab, "key")])), "config.json")
        swapping = asyncio.create_task(relay.reload())
        await until(lambda: relay.config.pipeline != before, "the reload's beginning")
        relay.stop()
        result = await relay.reload()
        assert (result.ok, result.text) == (False, ("the relay is stopping",))
        await swapping
    assert len(lab.receiver.accepted) < 50
    async with lab.running(pipeline=[http(lab, "key")]):
        await lab.receiver.wait_for_events(50)


async def test_a_database_is_added_beside_streams_that_run_on(lab: Lab) -> None:
    """With a backfill of what exists in it; the first stream is still the same one."""
    more = lab.db.client[f"{lab.db.name}-more"]
    try:
        more.orders.insert_many([{"_id": number} for number in range(30)])
        async with lab.running() as relay:
            [runner] = relay.runners
            result = await reload(lab, relay, databases={lab.db.name: {}, more.name: {"backfill": "initial"}})
            assert result.ok, result
            assert f"arranged stream {more.name} anew" in result.text
            await until(lambda: relay.status.problems() == [], "the relay to be ready again")
            assert runner in relay.runners
            assert len(relay.runners) == 2
            more.orders.insert_one({"_id": "new"})
            lab.db.orders.insert_one({"_id": "beside"})
            accepted = await lab.receiver.wait_for_events(32)
            operations = Counter(event.body["operationType"] for event in accepted)
            assert operations == {"read": 30, "insert": 2}
            result = await reload(lab, relay)
            assert result.ok, result
            assert relay.runners == [runner]
    finally:
        lab.db.client.drop_database(more.name)


async def test_relay_wide_options_take_effect_or_are_named(lab: Lab) -> None:
    async with lab.running() as relay:
        [runner] = relay.step_runners
        result = await reload(
            lab, relay, shutdown_grace="1s", checkpoint={"interval": "200ms"}, window={"max_events": 500}
        )
        assert result.ok
        assert result.text == (
            "kept pipeline top level",
            "applied checkpoint.interval",
            "applied shutdown_grace",
            "window.max_events takes effect at the next start",
        )
        assert relay.step_runners == [runner]
        assert (relay.config.shutdown_grace, relay.config.window.max_events) == (1.0, 10_000)
        assert relay.checkpointer is not None
        assert relay.checkpointer.interval == 0.2


@pytest.mark.parametrize("ha", [{}, {"ha": {"lease": "1s"}}], ids=["without-ha", "ha"])
async def test_the_password_of_mongodb_is_rotated(lab: Lab, own_replica_set: ReplicaSet, ha: dict[str, Any]) -> None:
    """A wrong one is refused, and changes nothing. With the right one, everything continues, even after the server has
    been started again and old connections are of no use; also those that renew the lease."""
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        client.admin.command("createUser", "relay", pwd="first-password", roles=["root"])
        secret = lab.write("first-password", "password")
        url = own_replica_set.url.replace("://", "://relay:${file:password}@").replace("/?", "/?authSource=admin&")
        database = client["rotated"]
        async with lab.running(mongodb={"url": url}, databases={"rotated": {}}, **ha) as relay:
            database.orders.insert_one({"_id": 1})
            await lab.receiver.wait_for_events(1)
            secret.write_text("wrong-password")
            result = await relay.reload()
            assert not result.ok
            assert "refused the user name or password" in str(result.text)
            client.admin.command("updateUser", "relay", pwd="second-password")
            secret.write_text("second-password")
            result = await relay.reload()
            assert result.ok, result
            assert result.text == ("kept pipeline top level", "applied mongodb.url")
            await asyncio.to_thread(_restart, own_replica_set)
            database.orders.insert_one({"_id": 2})
            await lab.receiver.wait_for_events(2, 30)
            await until(lambda: not relay.status.problems(), "the checkpoint", 30)
        assert len(lab.receiver.requests) == 2


def _restart(replica_set: ReplicaSet) -> None:
    replica_set.kill_primary().start()
    replica_set.wait()


async def test_a_backfill_continues_through_reloads(lab: Lab) -> None:
    """Of its pipeline and of its stream: no document is missing, and changes meanwhile keep their order with it."""
    documents = 3000
    lab.db.orders.insert_many([{"_id": number, "n": 0} for number in range(documents)])
    seen: dict[int, list[tuple[str, int]]] = {}

    def respond(request: Request) -> Answer:
        for event in request.events:
            document = event.body["fullDocument"]
            seen.setdefault(document["_id"], []).append((event.body["operationType"], document["n"]))
        return Answer(delay=0.002)

    lab.receiver.respond = respond
    scope = {"backfill": "initial"}
    async with lab.running(databases=collections(lab, orders=scope)) as relay:
        for number in range(1, 9):
            await until(lambda: len(seen) >= number * documents // 12, "more documents", 30)  # noqa: B023 - awaited here
            lab.db.orders.update_many({"_id": {"$mod": [100, number]}}, {"$set": {"n": number}})
            more = {f"c{number}": {}} if number % 2 else {}
            result = await reload(
                lab, relay, databases=collections(lab, orders=scope, **more), pipeline=[http(lab, str(number))]
            )
            assert result.ok, result
        await until(lambda: len(seen) == documents, "every document", 60)
        await until(lambda: all(seen[number][-1][1] == number % 100 for number in range(1, 9)), "every change", 30)
    for number, found in seen.items():
        values = [value for _, value in found]
        assert values == sorted(values), (number, found)


async def test_the_order_of_events_changes(lab: Lab) -> None:
    """From documents to the collection, to a value, and back, in the midst of a load."""
    ledger = Ledger()
    lab.receiver.respond = ledger
    load = Load(lab.url, lab.db.name, documents=10, pause=0.01)
    async with lab.running() as relay:
        load.start()
        for order in ("collection", {"by": "documentKey._id"}, "document", "collection", "document"):
            await asyncio.sleep(0.3)
            result = await reload(lab, relay, order=order)
            assert result.ok, result
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 60)
    ledger.check(load)
    assert ledger.duplicates == 0
    assert in_order(ledger.entries)


async def test_a_function_that_was_edited_is_used(lab: Lab) -> None:
    """Without a restart, and for the events that wait for it."""
    module = f"mine_{lab.db.name[-6:]}"
    lab.write(
        "from mess import EndpointDown\ndef step(input, config, context):\n    raise EndpointDown('not yet')\n",
        f"{module}.py",
    )
    options = {"plugins": {"mine": f"{module}:step"}, "pipeline": ["mine", http(lab)]}
    async with lab.running(**options) as relay:
        lab.db.orders.insert_many([{"_id": number} for number in range(5)])
        await until(lambda: relay.status.sink_problems(), "the step's trouble")
        lab.write("def step(input, config, context):\n    return {'seen': input['documentKey']}\n", f"{module}.py")
        result = await relay.reload()
        assert result.text == ("replaced pipeline top level",)
        accepted = await lab.receiver.wait_for_events(5)
    assert sorted(event.body["seen"]["_id"] for event in accepted) == list(range(5))


async def test_what_is_excluded_from_now_on_is_not_sent_any_more(lab: Lab) -> None:
    """Not even with events that the first sink has accepted before, and that wait for the second one."""
    first, second = Ledger(), Guarded("new-key")
    lab.receiver.respond = lambda request: (first if request.path == "/first" else second)(request)
    steps = [{**http(lab), "config": {"endpoint": lab.receiver.url.replace("/hook", "/first")}}]
    async with lab.running(pipeline=[*steps, http(lab, "old-key")]) as relay:
        lab.db.orders.insert_many([{"_id": number, "n": 0, "password": "secret-word"} for number in range(20)])
        await until(lambda: second.refused and len(first.changes) > 5, "events between the sinks")
        result = await reload(lab, relay, pipeline=[*steps, http(lab, "new-key")], exclude=["password"])
        assert result.ok, result
        await until(lambda: len(second.changes) == 20, "all of them")
    accepted = [request for request in lab.receiver.requests if request.headers.get("authorization") == "new-key"]
    assert len(accepted) == 20
    assert not any(b"secret-word" in request.body for request in accepted)


async def test_a_reload_just_after_the_start_waits_for_it(lab: Lab) -> None:
    """Streams are not read twice, and the new pipeline is opened once."""
    relay = lab.relay()
    running = asyncio.create_task(relay.run())
    try:
        await relay.started()
        for number in range(3):
            result = await reload(lab, relay, pipeline=[http(lab, f"key-{number}")], match={"operationType": "insert"})
            assert result.ok, result
        await relay.ready()
        lab.db.orders.insert_many([{"_id": number} for number in range(10)])
        await lab.receiver.wait_for_events(10)
        await asyncio.sleep(0.5)
    finally:
        relay.stop()
        await running
    assert len(lab.receiver.requests) == 10
    assert {request.headers["authorization"] for request in lab.receiver.requests} == {"key-2"}


async def test_a_reload_before_the_start_says_so(lab: Lab) -> None:
    result = await lab.relay().reload()
    assert (result.ok, result.text) == (False, ("the relay is not running yet: starting",))


async def test_a_stream_that_mongodb_cannot_serve_changes_nothing(lab: Lab) -> None:
    """A query that MongoDB refuses is found before the stream is stopped."""
    async with lab.running() as relay:
        [runner] = relay.runners
        result = await reload(lab, relay, match={"$expr": {"$noSuchOperator": 1}})
        assert not result.ok
        assert "noSuchOperator" in str(result.text)
        assert relay.runners == [runner]
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
