"""The filter step on changes from a real MongoDB: what is true arrives, what is false is done, what cannot be evaluated
becomes a dead letter."""

from __future__ import annotations

from datetime import datetime

from bson import Decimal128, Int64

from tests.integration.relay.conftest import Lab
from tests.waiting import until


async def test_only_what_is_true_arrives(lab: Lab) -> None:
    """The rest is no dead letter, and counts as done: nothing comes again after a restart."""
    when = "event.?fullDocument.?total.orValue(0) >= 100 && event.fullDocument.at < timestamp('2030-01-01T00:00:00Z')"
    pipeline = [{"name": "filter", "config": {"when": when}}, lab.http]
    at = datetime(2026, 1, 31)
    async with lab.running(pipeline=pipeline):
        totals = [120, 99, Int64(100), 99.9, Decimal128("100.00"), None, 1e9]
        lab.db["orders"].insert_many([{"_id": number, "total": total, "at": at} for number, total in enumerate(totals)])
        lab.db["orders"].update_one({"_id": 1}, {"$set": {"total": 101}})
        lab.db["orders"].delete_one({"_id": 0})
        lab.db["orders"].insert_one({"_id": "last", "total": 100, "at": at})
        await until(lambda: len(lab.receiver.requests) == 6, "all that are true")
    async with lab.running(pipeline=pipeline):
        lab.db["orders"].insert_one({"_id": "after", "total": 100, "at": at})
        await until(lambda: len(lab.receiver.requests) == 7, "the one after the restart")
    keys = [request.json["documentKey"]["_id"] for request in lab.receiver.requests]
    assert sorted(map(str, keys)) == ["0", "1", "2", "4", "6", "after", "last"]
    assert await lab.dead_letters() == []


async def test_what_cannot_be_evaluated_becomes_a_dead_letter(lab: Lab) -> None:
    step = {"name": "filter", "config": {"when": "event.fullDocument.total >= 100"}}
    async with lab.running(pipeline=[step, lab.http]):
        lab.db["orders"].insert_many([{"_id": 1, "total": 100}, {"_id": 2}, {"_id": 3, "total": "100"}])
        lab.db["orders"].delete_one({"_id": 1})
        lab.db["orders"].insert_one({"_id": 4, "total": 100})
        await until(lambda: len(lab.receiver.requests) == 2, "the last event")
    letters = {(letter.operation, letter.key["_id"]): letter.reason for letter in await lab.dead_letters()}
    missing = "null counts as missing. Test it first with has(), or give a default, as in event.?total.orValue(0)"
    assert letters == {
        ("insert", 2): f'when: Key not found in map : "total"; {missing}',
        ("insert", 3): "when: No matching overloads found : _>=_(string, int64)",
        ("delete", 1): f'when: Key not found in map : "fullDocument"; {missing}',
    }
