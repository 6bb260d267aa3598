"""Backfills of a relay: only where they are wanted, and whole, also when the config or the collection changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from mess.capture.existing import Facts
from mess.event import Namespace
from mess.relay.backfill_request import Request, new_backfills
from mess.state import Backfill
from mess.stores import store_for
from tests.integration.relay.conftest import Lab
from tests.receiver import Receiver
from tests.waiting import PATIENCE, until


async def start(lab: Lab, *collections: str, **options: Any) -> None:
    async with store_for(lab.relay().config) as store:
        found = [_facts(Namespace(lab.db.name, name)) for name in collections]
        for each in await new_backfills(store, found, Request((), **options)):
            await store.add_backfill(each)


def _facts(namespace: Namespace) -> Facts:
    return Facts(namespace, "collection", False, False, None, None, 21, datetime.now(timezone.utc))


async def backfills(lab: Lab) -> list[Backfill]:
    async with store_for(lab.relay().config) as store:
        return await store.backfills()


async def over(lab: Lab) -> list[Backfill]:
    """The backfills, when all of them have ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await backfills(lab)
            if all(each.ended for each in found):
                return found
            lab.db.others.insert_one({})  # while idle, documents are merged only from time to time
            await asyncio.sleep(0.05)


def read(receiver: Receiver) -> set[Any]:
    """The `_id`s of the existing documents that arrived."""
    return {each.body["documentKey"]["_id"] for each in receiver.accepted if each.body["operationType"] == "read"}


@asynccontextmanager
async def writing(lab: Lab) -> AsyncIterator[None]:
    """Changes come all the time."""

    async def write() -> None:
        while True:
            await asyncio.to_thread(lab.db.others.insert_one, {})

    task = asyncio.create_task(write())
    yield
    task.cancel()


async def test_no_other_step_gets_what_is_for_one_step(lab: Lab) -> None:
    """From the first document on, also while other backfills begin."""
    names = [f"orders{number}" for number in range(10)]
    for name in names:
        lab.db[name].insert_many([{"_id": f"{name}-{number}"} for number in range(200)])
    async with Receiver() as other:
        second = {**lab.http, "config": {"endpoint": other.url}}
        async with lab.running(pipeline=[lab.http, second]), writing(lab):
            await start(lab, *names, step="http 2")
            assert {each.progress.state for each in await over(lab)} == {"done"}
        assert len(read(other)) == 2000
        assert not read(lab.receiver)


async def test_a_step_that_is_gone_is_not_taken_for_delivery(lab: Lab) -> None:
    """It fails and says why; with the step back, `resume` sends everything."""
    lab.db.orders.insert_many([{"_id": number} for number in range(100)])
    await start(lab, "orders", step="http 2")
    async with lab.running():
        [failed] = await over(lab)
    assert (failed.progress.state, failed.progress.documents) == ("failed", 0)
    assert "has no step 'http 2'" in (failed.progress.reason or "")
    async with store_for(lab.relay().config) as store:
        await store.want_backfill(failed.id, "running")
    async with lab.running(pipeline=[lab.http, lab.http]):
        assert [each.progress.state for each in await over(lab)] == ["done"]
    assert read(lab.receiver) == set(range(100))


async def test_a_collection_that_replaces_another_while_the_relay_is_down(lab: Lab) -> None:
    """Its first documents were never sent, so this is not done: the reason says what to do."""
    lab.db.orders.insert_many([{"_id": number} for number in range(1000)])
    lab.db.new.insert_many([{"_id": number} for number in range(1000)])
    options: dict[str, Any] = {"databases": {lab.db.name: {"collections": {"orders": {}, "others": {}}}}}
    async with lab.running(**options):
        await start(lab, "orders", rate=200)
        async with writing(lab):
            await until(lambda: len(read(lab.receiver)) >= 300, "some documents")
    [before] = await backfills(lab)
    assert not before.ended
    lab.db.new.rename("orders", dropTarget=True)
    async with lab.running(**options):
        [ended] = await over(lab)
    assert ended.progress.state == "cancelled"
    assert "another collection was renamed to it" in (ended.progress.reason or "")


async def test_what_happened_before_the_request_does_not_end_it(lab: Lab) -> None:
    """The stream may deliver it later than the backfill begins."""
    lab.db.orders.insert_one({"_id": "old"})
    async with lab.running():
        pass  # it knows where to continue
    lab.db.orders.drop()
    lab.db.orders.insert_many([{"_id": number} for number in range(100)])
    await asyncio.sleep(1)  # cluster times are compared in seconds
    await start(lab, "orders")
    async with lab.running():
        assert [each.progress.state for each in await over(lab)] == ["done"]
    assert read(lab.receiver) == set(range(100))


async def test_documents_never_follow_changes_that_they_do_not_contain(lab: Lab) -> None:
    """Also when changes are sent again, because a crash has undone the stored position: receivers may leave them out
    the second time, by their ids."""
    lab.db.orders.insert_many([{"_id": number, "n": 0} for number in range(10)])
    async with lab.running():
        pass
    async with store_for(lab.relay().config) as store:
        before = await store.positions()
    async with lab.running():
        for n in range(1, 200):  # as many replies, each with places for documents
            lab.db.orders.update_one({"_id": n % 10}, {"$set": {"n": n}})
        await lab.receiver.wait_for_events(199)
    async with store_for(lab.relay().config) as store:
        await store.take_over()
        await store.arrange(before.coverage or [], before.checkpoints)
    await start(lab, "orders")
    latest = {each["_id"]: each["n"] for each in lab.db.orders.find()}
    async with lab.running():
        await over(lab)
    found = [each.body["fullDocument"] for each in lab.receiver.accepted if each.body["operationType"] == "read"]
    assert {each["_id"]: each["n"] for each in found} == latest


async def test_a_request_bears_the_time_of_mongodb(lab: Lab) -> None:
    """Changes before it do not concern it: by this host's clock, a later one might count as earlier."""
    behind = datetime.now(timezone.utc) - timedelta(hours=1)
    facts = replace(_facts(Namespace(lab.db.name, "orders")), time=behind)
    async with store_for(lab.relay().config) as store:
        [backfill] = await new_backfills(store, [facts], Request(()))
    assert backfill.created == behind
