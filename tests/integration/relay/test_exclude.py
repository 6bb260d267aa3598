"""Excluded fields never leave MongoDB: what it sends to the relay is searched for them, byte by byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, Int64, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from mess.demo.replica_set import ReplicaSet
from tests.excluded import without
from tests.integration.relay.conftest import Lab
from tests.integration.replay.test_oplog import replay
from tests.receiver import Answer, Receiver
from tests.wire import Wire, recorded

SECRET = "s3cr3t"
PUBLIC = "publ1c"
USERS = ["password", "card.number", "cards.number", "log", "profile.keys.private"]
ORDERS = ["card.number"]
CANONICAL = {"json": "canonical"}
IMAGES = {"full_document": "when_available", "full_document_before_change": "when_available"}
DATES: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


@pytest.fixture
async def wire(replica_set: ReplicaSet) -> AsyncIterator[Wire]:
    """What MongoDB sends to whoever connects by its url."""
    async with recorded(replica_set.primary.address) as found:
        yield found


@pytest.fixture
def taped(lab: Lab, wire: Wire, tmp_path: Path, receiver: Receiver) -> Lab:
    """A lab whose relays read from MongoDB through the wire; tests write to MongoDB directly."""
    return Lab(wire.url, lab.db, tmp_path, receiver)


def scopes(db: Database[Any]) -> dict[str, Any]:
    """Two collections with different excluded fields, and others without."""
    return {db.name: {"collections": {"users": {"exclude": USERS}, "orders": {"exclude": ORDERS}, "*": {}}}}


def write(db: Database[Any]) -> int:
    """Changes in which the secret stands wherever an excluded field may be; returns how many."""
    images = {"changeStreamPreAndPostImages": {"enabled": True}}
    for name in ("users", "orders", "others"):
        db.create_collection(name, **images)
    types = {"long": Int64(1), "decimal": Decimal128("1.50"), "null": None, "list": [[], {}], "text": PUBLIC}
    element = {"number": SECRET, "name": PUBLIC}
    users, orders, others = db["users"], db["orders"], db["others"]
    users.insert_one({"_id": 1, "password": SECRET, "card": element, "cards": [element, [element]], **types})
    updates: list[Any] = [
        {"$set": {"password": SECRET + "!", "n": 1}},
        {"$set": {"password": {"hash": SECRET}}},
        {"$set": {"password.hash": SECRET + "!"}},
        {"$set": {"card.number": SECRET + "!", "card.name": PUBLIC + "!"}},
        {"$set": {"card": {**element, "of": 1}}},
        {"$set": {"cards.0.number": SECRET + "!", "cards.0.more": types}},
        {"$set": {"cards.1": element}},
        {"$push": {"cards": element}},
        {"$set": {"cards.1.number": SECRET + "!", "cards.2": [element, [element]]}},
        {"$set": {"profile": {"keys": [{"private": SECRET, "public": PUBLIC}]}}},
        {"$set": {"profile.keys.0": {"private": SECRET + "!", "public": PUBLIC}}},
        {"$set": {"profile.keys": {"private": {"pem": SECRET}, "public": PUBLIC}}},
        {"$set": {"profile.keys.private.pem": SECRET + "!"}},
        {"$set": {"log": [{"text": SECRET + str(number)} for number in range(9)], "names": list("abcdefghi")}},
        [{"$set": {"log": {"$slice": ["$log", 3]}, "names": {"$slice": ["$names", 3]}}}],
        {"$unset": {"password": 1, "card.number": 1, "null": 1, "card.name": 1}},
        {"$unset": {"card": 1}},
        # Names with a dot and a dollar: what changed is told from nothing else by its key.
        [_with("profile.keys", {"private": PUBLIC}), _with("$money", 1)],
    ]
    for update in updates:
        assert users.update_one({"_id": 1}, update).modified_count == 1
    users.update_one({"_id": 1}, [{"$unset": "cards"}, _with("a.b", {"c": 1})])
    users.replace_one({"_id": 1}, {"password": SECRET, "card": element, "cards": [element], **types})
    users.delete_one({"_id": 1})
    orders.insert_one({"_id": 2, "password": PUBLIC, "card": element})
    orders.update_one({"_id": 2}, {"$set": {"card": {"number": SECRET + "!"}, "password": PUBLIC + "!"}})
    orders.delete_one({"_id": 2})
    others.insert_one({"_id": 3, "password": PUBLIC, "card": {"number": PUBLIC}})
    others.update_one({"_id": 3}, {"$set": {"card.number": PUBLIC + "!"}})
    others.rename("renamed")
    db["renamed"].drop()
    return len(updates) + 11


def _with(name: str, value: Any) -> dict[str, Any]:
    """The stage that sets a field whose name is no path."""
    field = {"field": {"$literal": name}, "input": "$$ROOT", "value": {"$literal": value}}
    return {"$replaceWith": {"$setField": field}}


def expected(stream: Any, count: int) -> list[Any]:
    """The events of an unfiltered stream, without what the config excludes."""
    paths = {"users": USERS, "orders": ORDERS}
    events = [next(stream) for _ in range(count)]
    return [plain(without(event, paths.get(event["ns"]["coll"], []))) for event in events]


def plain(event: Any) -> Any:
    return json.loads(json_util.dumps(event, json_options=json_util.CANONICAL_JSON_OPTIONS))


def in_order(events: list[Any]) -> list[Any]:
    return sorted(events, key=lambda event: str(event["_id"]["_data"]))


@pytest.mark.parametrize("expanded", [False, True])
async def test_the_secret_is_nowhere_in_mongodbs_replies_and_everything_else_arrives(
    taped: Lab, wire: Wire, expanded: bool
) -> None:
    """Inserts, updates of the field, of its parents, of elements and slices of arrays, replacements, deletes with
    pre-images; in three streams, since their collections exclude different fields."""
    db = taped.db
    operations = ["insert", "update", "replace", "delete", "rename", "drop"]
    http = {**taped.http, "config": {"endpoint": taped.receiver.url, **CANONICAL}}
    watched = db.with_options(codec_options=DATES)
    images = {"full_document": "whenAvailable", "full_document_before_change": "whenAvailable"}
    selected = [{"$match": {"operationType": {"$in": operations}}}]
    options = {"databases": scopes(db), "show_expanded_events": expanded, "operations": operations, **IMAGES}
    with watched.watch(selected, show_expanded_events=expanded, **images) as whole:
        async with taped.running(pipeline=[http], **options):
            count = write(db)
            requests = await taped.receiver.wait_for(count)
        events = expected(whole, count)
    assert in_order([request.json for request in requests]) == in_order(events)
    assert PUBLIC.encode() in wire.received
    assert SECRET.encode() not in wire.received


async def test_dead_letters_and_a_replay_of_the_oplog_do_not_contain_it_either(taped: Lab, wire: Wire) -> None:
    db = taped.db
    options: dict[str, Any] = {"databases": scopes(db), **IMAGES}
    taped.receiver.answer = Answer(status=422)
    async with taped.running(**options):
        count = write(db)
        await taped.receiver.wait_for(count)
    letters = await taped.dead_letters(**options)
    assert len(letters) == count
    taped.receiver.answer = Answer()
    _, work = await replay(taped, **options)
    assert work.complete
    assert len(taped.receiver.requests) == 2 * count
    assert PUBLIC.encode() in wire.received
    assert SECRET.encode() not in wire.received


async def test_match_may_use_an_excluded_field(taped: Lab, wire: Wire) -> None:
    """MongoDB evaluates it first."""
    scope = {"exclude": ["status"], "match": {"fullDocument.status": SECRET}}
    async with taped.running(databases={taped.db.name: scope}):
        taped.db.orders.insert_many([{"_id": 1, "status": PUBLIC}, {"_id": 2, "status": SECRET}])
        [event] = await taped.receiver.wait_for_events(1)
    assert event.body["fullDocument"] == {"_id": 2}
    assert SECRET.encode() not in wire.received


async def test_keys_that_are_not_utf8_do_not_stop_the_stream(lab: Lab) -> None:
    """As a regular expression would: MongoDB refuses to match one against them."""
    broken = RawBSONDocument(b"\x0f\0\0\0\x10\xff\xfe.b\0\x01\0\0\0\0")
    async with lab.running(exclude=["a.b", "c"]):
        lab.db.orders.insert_one({"_id": 1})
        lab.db.orders.update_one({"_id": 1}, [_with("a", broken)])
        lab.db.orders.update_one({"_id": 1}, [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"$literal": broken}]}}])
        lab.db.orders.insert_one({"_id": 2})
        events = await lab.receiver.wait_for_events(4)
    assert sorted(event.body["documentKey"]["_id"] for event in events) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"exclude": ["n"]}),
        ({"exclude": ["n"]}, {"exclude": ["m", "n"]}),
        ({"exclude": ["n"]}, {}),
        ({}, {"collections": {"a": {"exclude": ["n"]}, "b": {}}}),
        ({"collections": {"a": {"exclude": ["n"]}, "b": {}}}, {"collections": {"a": {}, "b": {"exclude": ["n"]}}}),
        ({"collections": {"a": {"exclude": ["n"]}, "b": {}}}, {"exclude": ["n"]}),
    ],
)
async def test_another_exclude_loses_nothing(lab: Lab, before: dict[str, Any], after: dict[str, Any]) -> None:
    async with lab.running(databases={lab.db.name: before}):
        for coll in "ab":
            lab.db[coll].insert_one({"_id": f"{coll}1", "n": 1})
        seen = {event.body["documentKey"]["_id"]: event.id for event in await lab.receiver.wait_for_events(2)}
    for coll in "ab":
        lab.db[coll].insert_one({"_id": f"{coll}2", "n": 1})
    async with lab.running(databases={lab.db.name: after}):
        for coll in "ab":
            lab.db[coll].insert_one({"_id": f"{coll}3", "n": 1})
        await lab.receiver.wait_for_events(6)
    again = {event.body["documentKey"]["_id"]: event.id for event in lab.receiver.accepted}
    assert again.keys() == {f"{coll}{number}" for coll in "ab" for number in (1, 2, 3)}
    assert {key: again[key] for key in seen} == seen
    if "collections" not in before and "collections" not in after:
        assert len(lab.receiver.accepted) == 6  # the stream has the same events, and continues from its token


async def test_an_event_that_is_too_large_only_with_the_excluded_field_arrives(lab: Lab) -> None:
    """With the field, its document and the pre-image are more than MongoDB can send at once."""
    lab.db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    lab.db.orders.insert_one({"_id": 1, "fill": "x" * 9_000_000})
    async with lab.running(exclude=["fill"], **IMAGES):
        lab.db.orders.update_one({"_id": 1}, {"$set": {"n": 1}})
        [event] = await lab.receiver.wait_for_events(1)
    assert event.body["fullDocument"] == {"_id": 1, "n": 1}
    assert event.body["fullDocumentBeforeChange"] == {"_id": 1}
    assert await lab.dead_letters() == []
