"""SIGTERM: what is in flight is finished, nothing is repeated, and nothing is waited for that need not be."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load, in_order
from tests.receiver import Answer, Receiver
from tests.waiting import until

BATCH = pytest.mark.parametrize("batch", [{}, {"batch": {"max_events": 50}}], ids=["single", "batch"])


@BATCH
async def test_requests_in_flight_are_finished_and_not_made_again(
    setting: Setting, mongo: MongoClient[dict[str, Any]], batch: dict[str, Any]
) -> None:
    """One request in flight in every lane: the relay waits for the answers, exits 0, and never sends them again."""
    ledger = Ledger(Answer(delay=0.7))
    collection = mongo[setting.database].counters
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url, batch, concurrency=16)
        async with relay:
            collection.insert_many([{"_id": key, "n": 0} for key in range(16)])
            await receiver.wait_for(16)
            began = time.monotonic()
            assert await relay.stop() == 0
            assert time.monotonic() - began > 0.4
        async with relay:
            collection.insert_one({"_id": 16, "n": 0})
            await until(lambda: (16, 0) in ledger.changes, "the event behind them")
            assert await relay.stop() == 0
    assert sorted(entry.key for entry in ledger.entries) == list(range(17))


@BATCH
async def test_a_relay_stopped_under_load_loses_nothing_and_repeats_only_what_no_checkpoint_covers(
    setting: Setting, batch: dict[str, Any]
) -> None:
    """Stopped several times while events wait before a slow endpoint: exit 0 each time. What a fast lane delivered
    before an event that still waits in a slow one comes again; nothing that lies before the checkpoint does."""
    ledger = Ledger(Answer(delay=0.2))
    load = Load(setting.url, setting.database, documents=20, pause=0.05)
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url, batch)
        covered = ""
        for turn in range(3):
            began = len(ledger.entries)
            async with relay:
                if not turn:
                    load.start()
                await until(lambda before=began: len(ledger.entries) > before + 40, "deliveries")
                assert await relay.stop() == 0
            assert in_order(ledger.entries[began:])
            assert all(entry.token > covered for entry in ledger.entries[began:])
            [checkpoint] = setting.checkpoints()
            assert checkpoint["token"]["_data"] > covered, "the last checkpoint was not written"
            covered = checkpoint["token"]["_data"]
        load.finish()
        ledger.answer = Answer()
        async with relay:
            await until(lambda: ledger.complete(load), "every change")
            assert await relay.stop() == 0
    ledger.check(load)


@pytest.mark.parametrize(
    "batch",
    [pytest.param({}, marks=pytest.mark.long, id="single"), pytest.param({"batch": {"max_events": 50}}, id="batch")],
)
async def test_stopped_under_load_before_an_endpoint_that_keeps_up_nothing_comes_twice(
    setting: Setting, batch: dict[str, Any]
) -> None:
    """What waits in the lanes is still delivered, so that no lane is ahead of the checkpoint."""
    ledger = Ledger(Answer())
    load = Load(setting.url, setting.database, documents=50, pause=0.001)
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url, batch)
        for turn in range(3):
            began = len(ledger.entries)
            async with relay:
                if not turn:
                    load.start()
                await until(lambda before=began: len(ledger.entries) > before + 100, "deliveries")
                assert await relay.stop() == 0
        load.finish()
        async with relay:
            await until(lambda: ledger.complete(load), "every change", 60)
            assert await relay.stop() == 0
    ledger.check(load)
    ids = [entry.id for entry in ledger.entries]
    assert len(ids) == len(set(ids))


async def test_a_request_that_outlives_the_grace_is_made_again(
    setting: Setting, mongo: MongoClient[dict[str, Any]]
) -> None:
    """The endpoint hangs: the relay waits for the grace and no longer, exits 0, and delivers after the next start."""
    ledger = Ledger(Answer(hang=True))
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url, shutdown_grace="1s")
        async with relay:
            mongo[setting.database].counters.insert_one({"_id": 1, "n": 0})
            await receiver.wait_for(1)
            began = time.monotonic()
            assert await relay.stop() == 0
            assert 0.9 < time.monotonic() - began < 3
        ledger.answer = Answer()
        async with relay:
            await until(lambda: ledger.changes == {(1, 0)}, "the event")
    first, second = (request.headers["webhook-id"] for request in receiver.requests)
    assert first == second


async def test_a_backoff_is_abandoned_at_once_and_nothing_is_lost(setting: Setting) -> None:
    """The endpoint is down and pauses are long: SIGTERM ends the relay at once; all arrives after the next start."""
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=20, pause=0.01)
    receiver = Receiver(respond=ledger)
    receiver.port = free_port()
    relay = setting.relay(receiver.url, retry={"first": "60s", "cap": "60s"})
    async with relay:
        load.start()
        await until(lambda: load.rounds >= 20, "writes")
        load.finish()
        deadline = time.monotonic() + 10
        while not await relay.reasons():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        began = time.monotonic()
        assert await relay.stop() == 0
        assert time.monotonic() - began < 1.5
    async with receiver, relay:
        await until(lambda: ledger.complete(load), "every change")
    ledger.check(load)
    assert not setting.dead_letters()


async def test_a_pause_that_the_endpoint_asked_for_is_abandoned_too(
    setting: Setting, mongo: MongoClient[dict[str, Any]]
) -> None:
    """Retry-After of a minute, and SIGTERM: the relay ends at once."""
    async with Receiver(Answer(503, {"Retry-After": "60"})) as receiver, setting.relay(receiver.url) as relay:
        mongo[setting.database].counters.insert_one({"_id": 1, "n": 0})
        await receiver.wait_for(1)
        began = time.monotonic()
        assert await relay.stop() == 0
        assert time.monotonic() - began < 1.5


async def test_a_relay_whose_mongod_is_gone_stops_within_its_grace(
    own_replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """MongoDB was killed and does not return: SIGTERM still ends the relay before a container's stop timeout."""
    setting = Setting(own_replica_set.url, "shop", tmp_path_factory.mktemp("gone"))
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=5, pause=0.01)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url, shutdown_grace="2s") as relay:
        load.start()
        await until(lambda: load.rounds >= 5, "writes")
        load.finish()
        await until(lambda: ledger.complete(load), "every change")
        await asyncio.to_thread(own_replica_set.nodes[0].kill)
        deadline = time.monotonic() + 20
        while not await relay.reasons():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        began = time.monotonic()
        assert await relay.stop(30) in (0, 5), "5 where a checkpoint was still to be stored"
        assert time.monotonic() - began < 10


async def test_a_relay_that_waits_for_mongodb_stops_at_once(setting: Setting, tmp_path: Any) -> None:
    """MongoDB was never there: it tries again and again, in a line each, until SIGTERM, and exits 0."""
    setting.url = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"
    relay = setting.relay("http://127.0.0.1:9/hook")
    await relay.start(ready=False)
    await until(lambda: any(line["level"] == "warning" for line in relay.logs), "a word of warning", 30)
    assert relay.running
    began = time.monotonic()
    assert await relay.stop(30) == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in relay.text


async def test_a_relay_that_is_taken_over_under_load_exits_with_6(setting: Setting) -> None:
    """The older says so and ends; nothing is lost, and each document keeps its order among the first deliveries."""
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=20, pause=0.05)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as older:
        load.start()
        await until(lambda: len(ledger.changes) > 200, "the first changes")
        newer = setting.relay(receiver.url)
        newer.arguments = ("--take-over",)
        async with newer:
            assert await older.exit_code(10) == 6
            assert setting.database in older.text.splitlines()[-1]
            load.finish()
            await until(lambda: ledger.complete(load), "every change")
            assert await newer.stop() == 0
    ledger.check(load)


@pytest.mark.parametrize("state", ["mongodb", "sqlite"])
async def test_a_relay_that_waits_replaces_one_that_is_killed_under_load(setting: Setting, state: str) -> None:
    """At once; nothing is lost, and each document keeps its order among the first deliveries."""
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=20, pause=0.05)
    options = {"state": {"url": f"sqlite:///{setting.sqlite}"}} if state == "sqlite" else {}
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url, **options) as older:
        load.start()
        waiting = setting.relay(receiver.url, **options)
        await waiting.start(ready=False)
        try:
            await until(lambda: "waiting for another process" in waiting.text, "word of the older", 30)
            await until(lambda: len(ledger.changes) > 200, "the first changes")
            assert older.running
            older.kill()
            killed = time.monotonic()
            await waiting.ready(steps=False)
            assert time.monotonic() - killed < 8, "well below the 15 s of a lost host"
            load.finish()
            await until(lambda: ledger.complete(load), "every change")
            assert await waiting.stop() == 0
        finally:
            if waiting.running:
                waiting.kill()
    ledger.check(load)
