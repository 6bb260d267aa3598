"""Bad days of MongoDB under load: the relay goes on by itself, loses nothing and keeps the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load
from tests.receiver import Receiver
from tests.waiting import until

DATABASE = "shop"


async def relayed(replica_set: ReplicaSet, folder: Path, trouble: Callable[[], Any]) -> None:
    """Run a load through a relay while `trouble` (in a thread) happens in its midst; all must arrive in order."""
    ledger = Ledger()
    setting = Setting(replica_set.url, DATABASE, folder)
    load = Load(setting.url, DATABASE, documents=20, pause=0.03)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load.start()
        await until(lambda: len(ledger.changes) > 400, "the first changes")
        await asyncio.to_thread(trouble)
        written = load.total
        await until(lambda: load.total > written + 400, "writes after the trouble", 60)
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 60)
        assert "Traceback" not in relay.text
        assert await relay.stop() == 0
    ledger.check(load)
    assert not setting.dead_letters()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the relay's files lie."""
    return tmp_path


async def test_the_stream_goes_on_after_mongod_was_killed_and_restarted(
    own_replica_set: ReplicaSet, folder: Path
) -> None:
    """The only server dies (SIGKILL) under load and returns after a while."""

    def trouble() -> None:
        own_replica_set.nodes[0].kill()
        own_replica_set.nodes[0].start()

    await relayed(own_replica_set, folder, trouble)


async def test_the_stream_goes_on_after_the_primary_was_killed(three_nodes: ReplicaSet, folder: Path) -> None:
    """The primary of three dies (SIGKILL) under load; what a majority has is delivered."""
    killed = []
    try:
        await relayed(three_nodes, folder, lambda: killed.append(three_nodes.kill_primary()))
    finally:
        killed[0].start()
        three_nodes.wait()


async def test_the_stream_goes_on_after_the_primary_stepped_down(three_nodes: ReplicaSet, folder: Path) -> None:
    """The primary of three hands over to another under load."""
    await relayed(three_nodes, folder, three_nodes.step_down)


async def test_a_relay_killed_together_with_its_mongod_loses_nothing(own_replica_set: ReplicaSet, folder: Path) -> None:
    """Relay and server die at the same moment (a power cut); both return, the relay first."""
    ledger = Ledger()
    setting = Setting(own_replica_set.url, DATABASE, folder)
    load = Load(setting.url, DATABASE, documents=20, pause=0.03)
    node = own_replica_set.nodes[0]
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load.start()
        await until(lambda: len(ledger.changes) > 400, "the first changes")
        node.kill()
        relay.kill()
        await relay.start(ready=False)
        await asyncio.sleep(1)
        await asyncio.to_thread(node.start)
        written = load.total
        await until(lambda: load.total > written + 400, "writes after the trouble", 60)
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 60)
        assert "Traceback" not in relay.text
        assert await relay.stop() == 0
    ledger.check(load)


@pytest.mark.long
async def test_an_outage_of_mongodb_gives_the_relays_name_to_nobody_else(
    own_replica_set: ReplicaSet, folder: Path
) -> None:
    """MongoDB is away for longer than a relay counts as alive: nobody can say that it lives. A process that waits for
    the name, on another host, does not take the relay for lost when MongoDB is back."""
    setting = Setting(own_replica_set.url, DATABASE, folder)
    node = own_replica_set.nodes[0]
    async with Receiver() as receiver, setting.relay(receiver.url) as relay:
        with MongoClient[Any](setting.url) as client:
            beat = {"_id": DATABASE, "beat.pid": relay.pid}
            client[setting.state].relays.update_one(beat, {"$set": {"beat.boot": "the boot of another host"}})
        second = setting.relay(receiver.url)
        second.arguments = ("--wait=10m",)
        await second.start(ready=False)
        try:
            await until(lambda: "waiting for another process" in second.text, "word of the first", 30)
            await asyncio.to_thread(node.stop)
            await asyncio.sleep(20)
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(own_replica_set.wait)
            with MongoClient[Any](setting.url) as client:
                client[DATABASE].orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1, 30)
            await asyncio.sleep(6)
            assert relay.running, relay.text
            assert "stream connected" not in second.text
            assert await relay.stop() == 0
            await second.ready(steps=False)
            assert await second.stop() == 0
        finally:
            if second.running:
                second.kill()
