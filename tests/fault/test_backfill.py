"""Existing documents under writers, kills, outages and failovers: each at its exact place, none missing."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

from mess.demo.replica_set import ReplicaSet
from tests.checker.committed import CommittedChanges
from tests.checker.existing import Deliveries, check_merged
from tests.fault.conftest import Setting
from tests.fault.relay import RelayProcess
from tests.receiver import Answer, Receiver, Request
from tests.waiting import until

DATABASE, COLLECTION = "shop", "orders"
# One of each type that an _id may have.
ODD_IDS: list[Any] = [
    MinKey(), None, 1.5, Decimal128("2.5"), Int64(2**40), "text", "", {"a": 1}, {"a": {"b": [1, 2]}}, b"bytes",
    Binary(b"other", 5), Binary.from_uuid(UUID(int=7)), ObjectId("0123456789abcdef01234567"), True, False,
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), Timestamp(3, 4), Code("f()"), MaxKey(), float("inf"), -0.5,
    Decimal128("NaN"),
]  # fmt: skip


class Writers:
    """Threads that insert, update, replace and delete documents at random, also in transactions; each write has a mark
    of its own (`w`)."""

    def __init__(self, url: str, ids: list[Any], *, threads: int = 3, pause: float = 0.002) -> None:
        self.url = url
        self._ids = ids
        self._pause = pause
        self._marks = count(1)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """End, after the current write."""
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=20_000) as client:
            collection = client[DATABASE].get_collection(COLLECTION, write_concern=WriteConcern("majority"))
            while not self._ending.wait(self._pause):
                try:
                    if chance.random() < 0.1:
                        self._transaction(client, collection, chance)
                    elif chance.random() < 0.1:
                        some = chance.sample(self._ids, 20)
                        collection.update_many({"_id": {"$in": some}}, {"$set": {"w": next(self._marks)}})
                    else:
                        self._write(collection, chance, None)
                except PyMongoError:  # what was written is for the checker to find out
                    continue

    def _transaction(self, client: Any, collection: Any, chance: random.Random) -> None:
        with client.start_session() as session, session.start_transaction():
            for _ in range(chance.randint(2, 40)):
                self._write(collection, chance, session)

    def _write(self, collection: Any, chance: random.Random, session: Any) -> None:
        id_, mark = chance.choice(self._ids), next(self._marks)
        what = chance.random()
        if what < 0.5:
            collection.update_one({"_id": id_}, {"$set": {"w": mark}}, upsert=True, session=session)
        elif what < 0.8:
            collection.replace_one({"_id": id_}, {"w": mark, "text": "x" * 50}, upsert=True, session=session)
        else:
            collection.delete_one({"_id": id_}, session=session)


async def merged(
    setting: Setting,
    trouble: Callable[[RelayProcess, Receiver], Awaitable[None]],
    *,
    documents: int = 3000,
    answer: Callable[[Request], Answer] | None = None,
    **options: Any,
) -> Deliveries:
    """Backfill a collection while writers change it and `trouble` happens; every document must be at its exact place.

    The relay does not see the existing documents' own changes.
    """
    ids = [*ODD_IDS, *range(documents)]
    with MongoClient[dict[str, Any]](setting.url) as client:
        collection = client[DATABASE].get_collection(COLLECTION, write_concern=WriteConcern("majority"))
        client.drop_database(setting.state)  # servers are shared
        collection.drop()
        collection.insert_many([{"_id": id_, "w": f"before {number}"} for number, id_ in enumerate(ids)])
        found = Deliveries()

        def respond(request: Request) -> Answer:
            given = Answer() if answer is None else answer(request)
            if given.status == 200 and not given.hang:
                found.add(request)
            return given

        writers = Writers(setting.url, ids)
        http = {"json": "canonical", "batch": {"max_events": 100}}
        databases = {DATABASE: {"full_document": "off"}}
        async with Receiver(respond=respond) as receiver:
            relay = setting.relay(receiver.url, http, databases=databases, **options)
            async with relay:
                before = _marks(collection)
                with CommittedChanges(setting.url, [DATABASE]) as committed:
                    writers.start()
                    await until(lambda: len(found.seen) > 50, "the first changes")
                    await relay.mess("backfill", "start", f"{DATABASE}.{COLLECTION}")
                    await trouble(relay, receiver)
                    await until(lambda: "backfill done" in relay.text, lambda: relay.text[-2000:], 90)
                    await asyncio.to_thread(writers.finish)
                    await asyncio.to_thread(committed.catch_up)
                    changes = [each for each in committed.changes if (each.db, each.coll) == (DATABASE, COLLECTION)]
                    wanted = {change.id for change in changes}
                    await until(lambda: wanted <= found.ids, "every change", 60)
                    after = _marks(collection)
                assert await relay.stop() == 0
    check_merged(found.seen, changes, before, after)
    return found


def _marks(collection: Any) -> dict[bytes, Any]:
    return {bson.encode({"_id": each["_id"]}): each["w"] for each in collection.find()}


async def nothing(relay: RelayProcess, receiver: Receiver) -> None:
    """No trouble."""


async def test_documents_are_merged_at_their_exact_place(own_replica_set: ReplicaSet, tmp_path: Path) -> None:
    found = await merged(Setting(own_replica_set.url, DATABASE, tmp_path), nothing)
    assert not found.repeated


@pytest.mark.parametrize(("kills", "documents"), [(6, 6_000), pytest.param(50, 60_000, marks=pytest.mark.long)])
async def test_kill_9_again_and_again(own_replica_set: ReplicaSet, tmp_path: Path, kills: int, documents: int) -> None:
    """Only what was in flight is sent again."""

    async def trouble(relay: RelayProcess, receiver: Receiver) -> None:
        for _ in range(kills):
            # Once it is ready, so that it has documents in flight.
            await relay.ready()
            await asyncio.sleep(random.uniform(0.0, 1.5))
            relay.kill()
            await relay.start(ready=False)

    def slow(request: Request) -> Answer:
        return Answer(delay=0.02)

    found = await merged(Setting(own_replica_set.url, DATABASE, tmp_path), trouble, answer=slow, documents=documents)
    print("reads repeated:", found.reads_repeated)  # noqa: T201


@pytest.mark.parametrize(
    "kill", [pytest.param(True, marks=pytest.mark.long, id="killed"), pytest.param(False, id="stepped down")]
)
async def test_the_primary_goes_away_meanwhile(three_nodes: ReplicaSet, tmp_path: Path, kill: bool) -> None:
    async def trouble(relay: RelayProcess, receiver: Receiver) -> None:
        await asyncio.sleep(0.3)
        if not kill:
            await asyncio.to_thread(three_nodes.step_down)
            return
        killed = await asyncio.to_thread(three_nodes.kill_primary)
        await asyncio.sleep(2)
        await asyncio.to_thread(killed.start)
        await asyncio.to_thread(three_nodes.wait)

    setting = Setting(three_nodes.url, DATABASE, tmp_path)
    await merged(setting, trouble, answer=lambda request: Answer(delay=0.02), documents=6000)


@pytest.mark.long
async def test_documents_are_read_from_a_secondary(three_nodes: ReplicaSet, tmp_path: Path) -> None:
    url = f"{three_nodes.url}&readPreference=secondary"
    await merged(Setting(three_nodes.url, DATABASE, tmp_path), nothing, mongodb={"url": url})


async def test_the_sink_is_down_meanwhile(own_replica_set: ReplicaSet, tmp_path: Path) -> None:
    down = False

    def answer(request: Request) -> Answer:
        return Answer(503) if down else Answer()

    async def trouble(relay: RelayProcess, receiver: Receiver) -> None:
        nonlocal down
        await asyncio.sleep(0.1)
        down = True
        await asyncio.sleep(5)
        down = False

    await merged(Setting(own_replica_set.url, DATABASE, tmp_path), trouble, answer=answer)


async def test_documents_are_not_read_among_changes_that_an_earlier_process_may_have_delivered(
    own_replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """A receiver that drops what it knows would keep a document that was read before its deletion, if the relay
    repeated the deletion behind it."""
    setting = Setting(own_replica_set.url, DATABASE, tmp_path)
    found = Deliveries()

    def respond(request: Request) -> Answer:
        found.add(request)
        return Answer(delay=0.002)

    async with Receiver(respond=respond) as receiver, setting.relay(receiver.url, {"json": "canonical"}) as relay:
        with MongoClient[dict[str, Any]](setting.url) as client:
            client[DATABASE][COLLECTION].insert_many([{"_id": number, "w": number} for number in range(20)])
            await until(lambda: len(found.seen) == 20, "the first changes")
            assert await relay.stop() == 0
            client[DATABASE][COLLECTION].delete_one({"_id": 7})
            for mark in range(100, 250):  # more than is read at once
                client[DATABASE][COLLECTION].update_many({}, {"$set": {"w": mark}})
            await relay.mess("backfill", "start", f"{DATABASE}.{COLLECTION}")
            started = client.admin.command("ping")["operationTime"]
            await relay.start()
            await until(lambda: "backfill done" in relay.text, lambda: relay.text[-2000:], 40)
            assert await relay.stop() == 0
    reads = [seen for seen in found.seen if seen.operation == "read"]
    assert len(reads) == 19
    assert all(seen.time >= started for seen in reads)


@pytest.mark.long
async def test_transactions_that_take_several_oplog_entries(own_replica_set: ReplicaSet, tmp_path: Path) -> None:
    """All changes of one have the time of its last entry, and chunks are between neither of them."""

    def write(client: MongoClient[dict[str, Any]], number: int) -> None:
        some = {"_id": {"$in": list(range(number, 3000, 100))}}
        blob = {"w": f"large {number}", "blob": "x" * 700_000}
        with client.start_session() as session:
            session.with_transaction(
                lambda session: client[DATABASE][COLLECTION].update_many(some, {"$set": blob}, session=session)
            )

    async def trouble(relay: RelayProcess, receiver: Receiver) -> None:
        with MongoClient[dict[str, Any]](own_replica_set.url) as client:
            for number in range(3):
                await asyncio.to_thread(write, client, number)
            entries = client.local["oplog.rs"].count_documents({"o.applyOps.0.o.diff.i.blob": {"$exists": True}})
            assert entries > 3, "one is too small"

    def slow(request: Request) -> Answer:
        return Answer(delay=0.02)

    await merged(Setting(own_replica_set.url, DATABASE, tmp_path), trouble, answer=slow)


@pytest.mark.long
async def test_the_state_is_away_for_half_a_minute(own_replica_set: ReplicaSet, tmp_path: Path) -> None:
    """Meanwhile it goes on; a relay that is killed then continues after what was stored."""
    with ReplicaSet(1) as other:

        async def trouble(relay: RelayProcess, receiver: Receiver) -> None:
            [node] = other.nodes
            await asyncio.sleep(0.5)
            await asyncio.to_thread(node.kill)
            before = len(receiver.requests)
            await until(lambda: len(receiver.requests) > before + 20, "deliveries go on")
            await asyncio.sleep(15)
            relay.kill()
            await relay.start(ready=False)
            await asyncio.sleep(15)
            assert relay.running
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(other.wait)

        setting = Setting(own_replica_set.url, DATABASE, tmp_path)
        state = {"url": other.url, "database": "mess"}
        await merged(setting, trouble, state=state, answer=lambda request: Answer(delay=0.02), documents=6000)
