"""What `MongoStore` promises beyond the contract, on a real MongoDB."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener, CommandStartedEvent

from mess.errors import StateError
from mess.state import Wanted
from mess.state.mongo import MongoStore
from tests.integration.state.samples import checkpoint, letter


class Commands(CommandListener):
    """Keeps the commands that a client sends."""

    def __init__(self) -> None:
        self.sent: list[CommandStartedEvent] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(event)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


async def test_all_streams_are_saved_in_one_majority_write(replica_set: Any, database_name: str) -> None:
    """One command, whatever the number of streams, that waits for a majority but not for ever."""
    commands = Commands()
    async with AsyncMongoClient(replica_set.url, event_listeners=[commands]) as client:
        store = MongoStore(client[database_name], "mess")
        await store.open()
        await store.take_over()
        await store.arrange([], [])
        commands.sent.clear()
        await store.save([checkpoint(f"stream {number}") for number in range(200)])
    writes = [event for event in commands.sent if event.command_name == "update"]
    assert len(writes) == 1
    assert writes[0].command["writeConcern"] == {"w": "majority", "wtimeout": 10_000}
    assert "txnNumber" in writes[0].command, "it is not retryable"


async def test_no_chunks_are_left_behind(replica_set: Any, database_name: str) -> None:
    """Not by replacing, deleting or pruning large letters."""
    async with AsyncMongoClient(replica_set.url) as client:
        database = client[database_name]
        store = MongoStore(database, "mess")
        await store.open()

        async def chunks() -> int:
            return await database["dead_letter_chunks"].count_documents({})

        body = {"data": random.Random(1).randbytes(20_000_000)}
        for clean in (
            lambda: store.add_dead_letters([letter(body=1)]),
            lambda: store.delete_dead_letters(Wanted(ids=("msg_1",))),
            lambda: store.prune(None, 0),
        ):
            await store.add_dead_letters([letter(body=body)])
            assert await chunks() == 2
            await clean()
            assert await chunks() == 0


def _step_down(url: str) -> None:
    # The server may close the connection instead of answering.
    with contextlib.suppress(AutoReconnect), MongoClient(url) as client:
        client.admin.command("replSetStepDown", 2, force=True)


async def test_an_election_does_not_stop_the_relay(replica_set: Any, database_name: str) -> None:
    """Checkpoints and dead letters written while there is no primary are stored once there is one."""
    async with AsyncMongoClient(replica_set.url, serverSelectionTimeoutMS=1000) as client:
        store = MongoStore(client[database_name], "mess", retry_for=60)
        await store.open()
        epoch = await store.take_over()
        await store.arrange([], [])
        await asyncio.to_thread(_step_down, replica_set.url)
        for second in range(1, 20):
            await store.save([checkpoint(second=second)])
            await store.add_dead_letters([letter(f"msg_{second}")])
        assert await store.checkpoints() == [checkpoint(second=19)]
        assert await store.count_dead_letters() == 19
        assert store.epoch == epoch


async def test_an_outage_ends_in_a_state_error() -> None:
    """After the patience asked for, with the driver's error chained and what to look at."""
    async with AsyncMongoClient("mongodb://127.0.0.1:9/", serverSelectionTimeoutMS=100) as client:
        store = MongoStore(client["mess"], "mess", retry_for=0.5)
        with pytest.raises(StateError, match="cannot write state in the database mess: the state's MongoDB") as caught:
            await asyncio.wait_for(store.open(), 5)
    assert isinstance(caught.value.__cause__, AutoReconnect)
