"""What a change stream gives, on every level, with both drivers."""

from __future__ import annotations

from typing import Any

import pytest
from bson import SON, ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from mess.capture.tokens import position_after
from mess.errors import SourceError
from tests.integration.capture.reading import Watching

Db = Database[dict[str, Any]]


async def test_every_kind_of_change_arrives_in_the_order_of_commits(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1, "total": 5})
        db.orders.update_one({"_id": 1}, {"$set": {"total": 6}})
        db.orders.replace_one({"_id": 1}, {"total": 7})
        db.orders.delete_one({"_id": 1})
        events = await reader.take(4)
    assert [event.operation for event in events] == ["insert", "update", "replace", "delete"]
    assert [str(event.namespace) for event in events] == [f"{db.name}.orders"] * 4
    assert all(event.key == {"_id": 1} for event in events)
    assert len({event.id for event in events}) == 4
    assert all(event.id.startswith("msg_") and "." not in event.id for event in events)
    times = [position_after(event).time for event in events]
    assert times == sorted(times)  # type: ignore[type-var]


async def test_many_changes_arrive_once_each_and_in_order(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        for first in range(0, 3000, 1000):
            db.orders.insert_many([{"_id": first + n, "text": "x" * (n % 700)} for n in range(1000)])
        events = await reader.take(3000)
    assert [event.body["fullDocument"]["_id"] for event in events] == list(range(3000))
    assert len(reader.batches) > 1


async def test_one_change_has_one_id_on_every_level(watch: Watching, db: Db) -> None:
    levels: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({db.name: {}}, {}),
        ({db.name: {"collections": {"orders": {}}}}, {}),
        ({db.name: {"collections": {"ord*": {}}}}, {"full_document": "off"}),
        ({f"{db.name[:-1]}*": {}}, {}),
        ({"*": {"collections": {"orders": {}}}}, {"operations": ["insert", "update"]}),
    ]
    db.orders.insert_one({"_id": "before"})
    async with watch.open({db.name: {}}) as first:
        begin = first.begin
        db.orders.insert_one({"_id": 1})
        db.orders.update_one({"_id": 1}, {"$set": {"n": 1}})
        expected = [event.id for event in await first.take(2)]
    for databases, options in levels:
        async with watch.open(databases, begin, **options) as reader:
            events = [event for event in await reader.take(2) if event.namespace.db == db.name]
        assert [event.id for event in events] == expected, databases


async def test_chosen_collections_and_globs_leave_out_all_others(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {"collections": {"orders": {}, "log_*": {}}}}) as reader:
        for name in ("other", "orders", "log_a", "alog_b", "log_c"):
            db[name].insert_one({"_id": name})
        db.orders.insert_one({"_id": "end"})
        events = await reader.take_to("end")
    assert [event.namespace.coll for event in events] == ["orders", "log_a", "log_c", "orders"]


async def test_a_selection_that_grows_too_large_within_mongodb_is_named(watch: Watching) -> None:
    """MongoDB makes several times as much of it, and repeats that in its error, which must not flood the log."""
    globs = {f"*{n}_*": {"match": {"fullDocument.n": n}} for n in range(300)}
    async with watch.open(globs) as reader:
        with pytest.raises(SourceError, match="Write fewer names and globs") as caught:
            await reader.read()
    assert len(str(caught.value)) < 1000


async def test_a_class_in_a_glob_holds_what_python_reads_in_it(watch: Watching, db: Db) -> None:
    """MongoDB's regular expressions would read `[:digit:]` within a class as digits, and go on into the next glob."""
    async with watch.open(
        {db.name: {"collections": {"a_[x[:digit:]*": {}, "c_[!a]]": {}, "b_[ab]": {}, "end": {}}}}
    ) as reader:
        for name in ("a_:_", "a_[_", "a_1", "a_z", "b_a", "b_c", "c_b]", "c_a]"):
            db[name].insert_one({"_id": name})
        db.end.insert_one({"_id": "end"})
        events = await reader.take_to("end")
    assert [event.namespace.coll for event in events] == ["a_:_", "a_[_", "b_a", "c_b]", "end"]


async def test_a_glob_of_databases_sees_those_created_later_and_never_the_state(
    watch: Watching, db: Db, mongo: MongoClient[dict[str, Any]]
) -> None:
    later, state = f"{db.name}-later", f"{db.name}-state"
    try:
        async with watch.open({f"{db.name}*": {}}, state={"database": state}) as reader:
            mongo[state].checkpoints.insert_one({"_id": "mine"})
            mongo[later].orders.insert_one({"_id": 1})
            db.orders.insert_one({"_id": "end"})
            events = await reader.take_to("end")
        assert [str(event.namespace) for event in events] == [f"{later}.orders", f"{db.name}.orders"]
    finally:
        mongo.drop_database(later)
        mongo.drop_database(state)


async def test_mongodb_evaluates_match_and_operations(watch: Watching, db: Db) -> None:
    scope = {
        "collections": {
            "orders": {"match": {"fullDocument.total": {"$gte": {"$numberLong": "100"}}}, "operations": ["insert"]},
            "customers": {"operations": ["delete"]},
        }
    }
    async with watch.open({db.name: scope}) as reader:
        db.orders.insert_one({"_id": "small", "total": 99})
        db.orders.insert_one({"_id": "large", "total": 100})
        db.orders.update_one({"_id": "large"}, {"$set": {"total": 500}})
        db.customers.insert_one({"_id": "c"})
        db.customers.delete_one({"_id": "c"})
        db.orders.insert_one({"_id": "end", "total": 1000})
        events = await reader.take_to("end")
    assert [(event.operation, event.key) for event in events] == [
        ("insert", {"_id": "large"}),
        ("delete", {"_id": "c"}),
        ("insert", {"_id": "end"}),
    ]


async def test_a_match_holds_for_its_collection_beside_a_glob_for_all_others(watch: Watching, db: Db) -> None:
    scope = {"collections": {"orders": {"match": {"fullDocument.total": 1}}, "*": {}}}
    async with watch.open({db.name: scope}) as reader:
        db.orders.insert_one({"_id": "small", "total": 0})
        db.customers.insert_one({"_id": "c"})
        db.orders.insert_one({"_id": "large", "total": 1})
        db.customers.rename("people")
        db.people.insert_one({"_id": "end"})
        events = await reader.take_to("end")
    assert [(event.operation, event.key and event.key["_id"]) for event in events] == [
        ("insert", "c"),
        ("insert", "large"),
        ("rename", None),
        ("insert", "end"),
    ]


@pytest.mark.parametrize("differing", [False, True], ids=["alike", "differing"])
async def test_a_thousand_globs_select_as_one_does(watch: Watching, db: Db, differing: bool) -> None:
    """What goes before takes precedence: names before globs, and of these the first."""
    globs = [f"c{n}_*" for n in range(1000)]
    chosen = {glob: {"match": {"fullDocument.n": {"$ne": n}}} if differing else {} for n, glob in enumerate(globs)}
    scope = {"collections": {"c7_a": {"operations": ["delete"]}, "*_first": {}, **chosen}}
    async with watch.open({db.name: scope}) as reader:
        db.c7_a.insert_one({"_id": "not wanted"})
        for name in ("c7_b", "c999_first", "c999_b", "elsewhere"):
            db[name].insert_one({"_id": name, "n": 999})
        db.c0_b.insert_one({"_id": "end"})
        events = await reader.take_to("end")
    expected = ["c7_b", "c999_first", *([] if differing else ["c999_b"]), "c0_b"]
    assert [event.namespace.coll for event in events] == expected


async def test_an_update_carries_the_document_as_the_option_says(watch: Watching, db: Db) -> None:
    db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    db.orders.insert_one({"_id": 1, "total": 5})
    seen = {}
    for option in ("off", "update_lookup", "when_available", "required"):
        async with watch.open({db.name: {}}, full_document=option) as reader:
            begin = reader.begin
            db.orders.update_one({"_id": 1}, {"$set": {"total": 6}})
            db.orders.update_one({"_id": 1}, {"$set": {"total": 7}})
            events = await reader.take(2)
        assert begin.time is not None
        seen[option] = [event.body.get("fullDocument", {}).get("total") for event in events]
        db.orders.update_one({"_id": 1}, {"$set": {"total": 5}})
    assert seen["off"] == [None, None]
    assert seen["update_lookup"][1] == 7
    assert seen["when_available"] == seen["required"] == [6, 7]


async def test_an_update_of_a_document_deleted_since_arrives_without_it(watch: Watching, db: Db) -> None:
    db.orders.insert_one({"_id": 1})
    async with watch.open({db.name: {}}) as reader:
        db.orders.update_one({"_id": 1}, {"$set": {"n": 1}})
        db.orders.delete_one({"_id": 1})
        update, delete = await reader.take(2)
    assert update.body["fullDocument"] is None
    assert delete.operation == "delete"


async def test_pre_images_tell_what_was_there_before(watch: Watching, db: Db) -> None:
    db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    db.orders.insert_one({"_id": 1, "total": 5})
    async with watch.open({db.name: {}}, full_document_before_change="when_available") as reader:
        db.orders.update_one({"_id": 1}, {"$set": {"total": 6}})
        db.orders.delete_one({"_id": 1})
        events = await reader.take(2)
    assert [event.body["fullDocumentBeforeChange"] for event in events] == [
        {"_id": 1, "total": 5},
        {"_id": 1, "total": 6},
    ]


async def test_a_transaction_arrives_whole(watch: Watching, db: Db) -> None:
    db.create_collection("orders")
    client = db.client
    async with watch.open({db.name: {}}) as reader:
        with client.start_session() as session, session.start_transaction():
            for n in range(10):
                db.orders.insert_one({"_id": n}, session=session)
        events = await reader.take(10)
    assert [event.key for event in events] == [{"_id": n} for n in range(10)]
    assert len({event.id for event in events}) == 10


async def test_keys_of_every_kind_are_carried(watch: Watching, db: Db) -> None:
    keys: list[Any] = [1, 2**40, 1.5, "text", ObjectId(), b"bytes", SON([("a", 1), ("b", [1, 2])]), None, True]
    async with watch.open({db.name: {}}) as reader:
        for key in keys:
            db.orders.insert_one({"_id": key})
        events = await reader.take(len(keys))
    assert [(event.key or {})["_id"] for event in events] == keys
