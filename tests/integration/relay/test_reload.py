"""A config that changes while the relay runs: only what has changed is replaced, and no event notices."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mess import Relay
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
    load = Load(lab.url, lab.db.name, documents=7, pause=0.0)
    async with lab.running(pipeline=[http(lab)]) as relay:
        load.start()
        for number in range(25):
            await asyncio.sleep(0.2)
            result = await reload(lab, relay, pipeline=[http(lab, f"key-{number}")], concurrency=1 + number % 6)
            assert result.ok, result
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 30)
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
