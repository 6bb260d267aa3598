"""Bad days of MongoDB under load: the relay goes on by itself, loses nothing and keeps the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
