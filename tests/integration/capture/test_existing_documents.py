"""Documents of real collections, read chunk by chunk as of a cluster time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import OperationFailure

from mess.capture import client as mongodb
from mess.capture.existing_documents import CannotRead, Chunk, ExistingDocuments, ReadEvent, ReadFailure
from mess.capture.source import Unreadable
from mess.demo.replica_set import ReplicaSet
from mess.event import Namespace

Db = Database[dict[str, Any]]
MEGABYTE = 2**20
EVERYTHING: dict[str, Any] = {"$match": {"operationType": "read"}}
# One of each type that an _id may have, and some on which comparisons differ from each other.
IDS: list[Any] = [
    MinKey(), None, 1.5, -3, 7, 7.5, Int64(2**40), Decimal128("2.5"), float("nan"), float("inf"), float("-inf"), -0.5,
    Decimal128("-0.25"), "text", "", "Text", "TEXT2", "a\0b", {}, {"a": 1}, {"a": {"b": [1, 2]}}, b"bytes", b"",
    Binary(b"other", 5), Binary.from_uuid(UUID(int=7)), ObjectId("0123456789abcdef01234567"), True, False,
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), DatetimeMS(2**60), DatetimeMS(-(2**60)),
    Timestamp(3, 4), Timestamp(0, 1), Code("f()"), Code("f()", {"x": 1}), MaxKey(),
]  # fmt: skip


@pytest.fixture
async def client(replica_set: ReplicaSet) -> AsyncIterator[Any]:
    made = mongodb.connect(replica_set.url, "pymongo")
    yield made
    await mongodb.close(made)


def now(db: Db) -> Timestamp:
    """A time at which everything written so far can be read."""
    db.get_collection("clock", write_concern=WriteConcern("majority")).insert_one({})
    time: Timestamp = db.client.admin.command("ping")["operationTime"]
    return time


class Reading:
    """What a collection's documents are as of one time, with the chunks that they came in."""

    def __init__(self, client: Any, db: Db, name: str = "orders", at: Timestamp | None = None, **options: Any) -> None:
        self._documents = ExistingDocuments(client, Namespace(db.name, name), "bf_1", **options)
        self._at = at or now(db)
        self.chunks: list[Chunk] = []

    async def all(self, most: int, max_bytes: int = MEGABYTE) -> list[ReadEvent]:
        """All documents in chunks of at most `most`; the number follows from what is too large, as in a backfill."""
        after, many = None, most
        for _ in range(100_000):
            try:
                chunk = await self._documents.read(self._at, after, many, max_bytes)
            except CannotRead as error:
                if error.failure is not ReadFailure.FEWER or many == 1:
                    raise
                many = max(1, many // 4)
                continue
            many = min(most, 2 * many)
            self.chunks.append(chunk)
            if chunk.last is None:
                return [event for each in self.chunks for event in each.events]
            assert chunk.last != after, "it does not move"
            after = chunk.last
        raise AssertionError("it does not end")

    @property
    def unreadable(self) -> list[Unreadable]:
        """What cannot be delivered."""
        return [each for chunk in self.chunks for each in chunk.unreadable]


def keys(events: list[ReadEvent]) -> list[bytes]:
    """The `_id`s, byte for byte."""
    assert all(event.key is not None for event in events)
    return [bson.encode(event.key) for event in events if event.key is not None]


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
@pytest.mark.parametrize("options", [{}, {"collation": {"locale": "en", "strength": 3}}], ids=["", "collation"])
@pytest.mark.parametrize("clustered", [False, True], ids=["plain", "clustered"])
async def test_every_type_of_id(
    client: Any, db: Db, stages: list[Any], options: dict[str, Any], clustered: bool
) -> None:
    """Each document once, wherever a chunk ends: no type is skipped, and none is read twice."""
    more: dict[str, Any] = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}} if clustered else {}
    db.create_collection("orders", **more, **options)
    db.orders.insert_many([{"_id": id_} for id_ in IDS])
    expected = sorted(bson.encode({"_id": id_}) for id_ in IDS)
    at = now(db)
    for most in (1, 2, 5, 500):
        reading = Reading(client, db, at=at, stages=stages, clustered=clustered)
        assert sorted(keys(await reading.all(most))) == expected


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
async def test_no_document(client: Any, db: Db, stages: list[Any]) -> None:
    """An empty collection has an end; one that is gone has not, even as of a time when it was there."""
    db.create_collection("empty")
    db.gone.insert_one({"_id": 1})
    at = now(db)
    db.gone.drop()
    reading = Reading(client, db, "empty", at, stages=stages)
    assert await reading.all(10) == []
    assert len(reading.chunks) == 1
    for name in ("gone", "never"):
        with pytest.raises(CannotRead, match="does not exist") as caught:
            await Reading(client, db, name, at, stages=stages).all(10)
        assert caught.value.failure is ReadFailure.GONE


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
async def test_documents_from_one_byte_to_the_largest(client: Any, db: Db, stages: list[Any]) -> None:
    """A chunk holds few large ones, or many small ones; one that is larger than a chunk comes alone."""
    sizes = [1, 10, 2 * MEGABYTE, 1, 15 * MEGABYTE, *[300_000] * 20, *[1] * 200, 16 * MEGABYTE - 60]
    for number, size in enumerate(sizes):
        db.orders.insert_one({"_id": number, "text": "x" * size})
    reading = Reading(client, db, stages=stages)
    events = await reading.all(500)
    assert [len(event.change["fullDocument"]["text"]) for event in events] == sizes
    assert not reading.unreadable
    for chunk in reading.chunks:
        assert chunk.size <= 2 * MEGABYTE or len(chunk.events) == 1


async def test_a_document_whose_event_is_too_large_for_a_match(client: Any, db: Db) -> None:
    """The `_id` is in the event twice. Only this document becomes a dead letter."""
    large = "k" * 100_000
    db.orders.insert_many([{"_id": "a"}, {"_id": "z"}])
    db.orders.insert_one({"_id": large, "text": "x" * 8 * MEGABYTE})
    # At once, it would not fit into the oplog, where the `_id` is twice, too.
    db.orders.update_one({"_id": large}, {"$set": {"more": "x" * (8 * MEGABYTE - 100_100)}})
    reading = Reading(client, db, stages=[EVERYTHING])
    assert [event.key for event in await reading.all(100)] == [{"_id": "a"}, {"_id": "z"}]
    [letter] = reading.unreadable
    assert "16 MB" in letter.reason
    assert letter.change["documentKey"] == {"_id": large}
    assert letter.change["operationType"] == "read"
    assert letter.id.startswith("msg_")
    whole = await Reading(client, db).all(100)
    assert [event.id for event in whole if event.key == {"_id": large}] == [letter.id]


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
async def test_a_document_that_cannot_be_decoded(client: Any, db: Db, stages: list[Any]) -> None:
    """It is reported with its `_id`, and those around it are read."""
    data = bson.encode({"_id": 2, "data": Binary(b"\x03\0\0\0abc", 0)})
    old = data.replace(b"\x07\0\0\0\0\x03\0\0\0abc", b"\x07\0\0\0\x02\x09\0\0\0abc")  # a wrong length within subtype 2
    assert old != data
    db.orders.insert_one({"_id": 1})
    db.orders.insert_one(RawBSONDocument(old))
    db.orders.insert_one({"_id": 3})
    reading = Reading(client, db, stages=stages)
    assert [event.key for event in await reading.all(500)] == [{"_id": 1}, {"_id": 3}]
    [letter] = reading.unreadable
    assert "cannot be decoded" in letter.reason
    assert letter.change["documentKey"] == {"_id": 2}
    assert letter.change["ns"] == {"db": db.name, "coll": "orders"}


async def test_a_match_that_selects_nothing(client: Any, db: Db) -> None:
    """Each chunk moves on."""
    db.orders.insert_many([{"_id": number} for number in range(1000)])
    reading = Reading(client, db, stages=[{"$match": {"fullDocument.none": 1}}])
    assert await reading.all(100) == []
    assert [bson.decode(chunk.last)["_id"] for chunk in reading.chunks if chunk.last] == list(range(99, 1000, 100))
    assert [chunk.count for chunk in reading.chunks[:10]] == [100] * 10


async def test_ids_that_do_not_fit_into_one_reply(client: Any, db: Db) -> None:
    """The chunk's end is not taken for the collection's."""
    db.orders.insert_many([{"_id": f"{number:03}" + "x" * 90_000, "n": number} for number in range(220)])
    reading = Reading(client, db, stages=[{"$match": {"fullDocument.n": {"$gte": 210}}}])
    assert [event.change["fullDocument"]["n"] for event in await reading.all(500)] == list(range(210, 220))


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
@pytest.mark.parametrize("mixed", [False, True], ids=["one type", "two types"])
async def test_no_chunk_of_a_clustered_collection_scans_from_the_start(
    client: Any, db: Db, stages: list[Any], mixed: bool
) -> None:
    """MongoDB examines as many documents for a late chunk as for an early one."""
    db.create_collection("orders", clusteredIndex={"key": {"_id": 1}, "unique": True})
    db.orders.insert_many([{"_id": Int64(n) if mixed and n % 3 else n} for n in range(10_000)])
    db.client.get_database(db.name).command({"profile": 2})
    try:
        await Reading(client, db, stages=stages, clustered=True).all(500)
    finally:
        db.command({"profile": 0})
    examined = [
        each["docsExamined"]
        for each in db["system.profile"].find({"ns": f"{db.name}.orders", "op": {"$in": ["query", "command"]}})
    ]
    assert len(examined) >= 20
    assert max(examined) <= 1100, json.dumps(examined)


async def test_what_is_older_than_the_collection(client: Any, db: Db) -> None:
    """A place further on is needed, not another user or query."""
    at = now(db)
    db.orders.insert_one({"_id": 1})
    with pytest.raises(CannotRead) as caught:
        await Reading(client, db, at=at).all(10)
    assert caught.value.failure is ReadFailure.FURTHER_ON


async def test_a_query_that_cannot_be_evaluated(client: Any, db: Db) -> None:
    """A conversion that fails does so again: the backfill has to fail, and must not keep others waiting."""
    db.orders.insert_one({"_id": 1, "total": "many"})
    stages = [{"$match": {"$expr": {"$gt": [{"$toInt": "$fullDocument.total"}, 0]}}}]
    with pytest.raises(CannotRead) as caught:
        await Reading(client, db, stages=stages).all(10)
    assert caught.value.failure is ReadFailure.NEVER


@pytest.mark.parametrize("stages", [[], [EVERYTHING]], ids=["all", "match"])
async def test_what_takes_mongodb_long_is_tried_with_fewer_documents(
    client: Any, db: Db, stages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changes behind them wait meanwhile: a second at most, and for one document half a minute."""
    db.orders.insert_many([{"_id": number} for number in range(4)])
    reading = Reading(client, db, stages=stages)
    run, limits = ExistingDocuments._command, []

    async def slow(self: ExistingDocuments, command: dict[str, Any], at: Timestamp | None = None) -> Any:
        if at is None:
            return await run(self, command, at)
        limits.append(command["maxTimeMS"])
        if command["maxTimeMS"] == 1000:
            raise OperationFailure("operation exceeded time limit", 50)
        return await run(self, command, at)

    monkeypatch.setattr(ExistingDocuments, "_command", slow)
    assert len(await reading.all(1)) == 4
    assert set(limits) == {30_000}
    with pytest.raises(CannotRead) as caught:
        await reading._documents.read(now(db), None, 4, MEGABYTE)
    assert caught.value.failure is ReadFailure.FEWER
