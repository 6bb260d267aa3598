"""Values and sizes that drivers or servers stumble over never kill a stream, and cost no other event."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import PyMongoError

from mess.event import event_id
from mess.formats import bson_json
from tests.integration.capture.reading import Watching

Db = Database[dict[str, Any]]

MEGABYTE = 1024 * 1024
YEAR_10000 = 253_402_300_800_000


def with_invalid_utf8(key: Any) -> RawBSONDocument:
    whole = bson.encode({"_id": key, "text": "ab\x01\x01cd"})
    return RawBSONDocument(whole.replace(b"ab\x01\x01cd", b"ab\xc3\x28cd"))


@pytest.mark.parametrize(
    ("document", "check"),
    [
        ({"date": DatetimeMS(YEAR_10000)}, lambda value: int(value["date"]) == YEAR_10000),
        ({"date": DatetimeMS(-(2**62))}, lambda value: int(value["date"]) == -(2**62)),
        ({"number": math.nan}, lambda value: math.isnan(value["number"])),
        ({"number": math.inf}, lambda value: value["number"] == math.inf),
        ({"ref": {"$ref": 5}}, lambda value: value["ref"] == {"$ref": 5}),
        ({"ref": {"$ref": "c", "$id": 1, "$db": 3}}, lambda value: "$ref" in str(value) or "DBRef" in str(value)),
        ({"a": {"b": [{"c": None}]}}, lambda value: value["a"] == {"b": [{"c": None}]}),
    ],
    ids=["year-10000", "far-past", "nan", "infinity", "bad-ref", "bad-ref-database", "nested"],
)
async def test_a_strange_value_is_carried_and_can_be_encoded(
    watch: Watching, db: Db, document: dict[str, Any], check: Any
) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": "before"})
        db.orders.insert_one(RawBSONDocument(bson.encode({"_id": "strange", **document})))
        db.orders.insert_one({"_id": "behind"})
        events = await reader.take(3)
    assert not reader.unreadable
    assert [event.key for event in events] == [{"_id": "before"}, {"_id": "strange"}, {"_id": "behind"}]
    assert check(events[1].body["fullDocument"])
    assert bson_json.plain(events[1].body)


async def test_invalid_utf8_is_carried(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_many([{"_id": 1}, with_invalid_utf8(2), {"_id": 3}])
        events = await reader.take(3)
    assert [event.key for event in events] == [{"_id": 1}, {"_id": 2}, {"_id": 3}]
    assert events[1].body["fullDocument"]["text"] == "ab\ufffd(cd"


async def test_dates_are_in_utc_and_naive(watch: Watching, db: Db) -> None:
    moment = datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc)
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1, "at": moment})
        [event] = await reader.take(1)
    assert event.body["fullDocument"]["at"] == moment.replace(tzinfo=None)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in-one-reply"])
async def test_an_oversize_event_is_reported_and_its_neighbours_arrive_in_order(
    watch: Watching, db: Db, together: bool
) -> None:
    """An update whose event holds the document twice is larger than MongoDB can hand out."""
    db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    db.orders.insert_one({"_id": "large", "fill": "x" * (9 * MEGABYTE)})
    options = {"full_document_before_change": "when_available", "full_document": "when_available"}
    async with watch.open({db.name: {}}, **options) as reader:
        if not together:
            await reader.read()
        db.orders.insert_many([{"_id": n} for n in range(5)])
        if not together:
            await reader.take(5)
        for n in (1, 2):
            db.orders.update_one({"_id": "large"}, {"$set": {"n": n}})
        db.orders.insert_many([{"_id": n} for n in range(5, 10)])
        await reader.take(10)
        assert [event.key for event in reader.events] == [{"_id": n} for n in range(10)]
        assert len(reader.unreadable) == 2
        assert all("16 MB" in each.reason for each in reader.unreadable)
        ids = [event_id(each.position.token or {}) for each in reader.unreadable]
        # Full speed again: what comes now does not come one by one.
        db.orders.insert_many([{"_id": n} for n in range(10, 110)])
        await reader.take(110)
        assert len(reader.batches[-1].events) > 1
    # The token that was recorded is the change's own: a stream that can hand it out tells the same id.
    async with watch.open({db.name: {}}, reader.begin, full_document="off") as small:
        events = await small.take(12)
    assert ids == [event.id for event in events if event.operation == "update"]


async def test_a_large_event_that_fits_is_delivered(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1, "fill": "x" * (15 * MEGABYTE)})
        db.orders.insert_one({"_id": 2})
        events = await reader.take(2)
    assert len(events[0].body["fullDocument"]["fill"]) == 15 * MEGABYTE
    assert events[1].key == {"_id": 2}


async def test_an_event_that_became_small_enough_before_it_was_read_again_slows_nothing_down(
    watch: Watching, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update looked up is as large as its document is by now."""
    db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    db.orders.insert_one({"_id": "large", "fill": "x" * (9 * MEGABYTE)})
    options = {"full_document_before_change": "when_available", "full_document": "update_lookup"}
    async with watch.open({db.name: {}}, **options) as reader:
        recover = reader.stream._recover

        async def shrink(error: PyMongoError) -> Any:
            db.orders.update_one({"_id": "large"}, {"$unset": {"fill": ""}})
            return await recover(error)

        monkeypatch.setattr(reader.stream, "_recover", shrink)
        db.orders.update_one({"_id": "large"}, {"$set": {"n": 1}})
        events = await reader.take(2)
        assert [event.operation for event in events] == ["update", "update"]
        assert not reader.unreadable
        db.orders.insert_many([{"_id": n} for n in range(100)])
        await reader.take(102)
        assert len(reader.batches[-1].events) > 1
