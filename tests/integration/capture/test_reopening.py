"""What closes a change stream, or makes it begin anew, loses nothing and delivers nothing out of turn."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Timestamp
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from mess.capture.start import fresh_time, time_oldest
from mess.capture.tokens import position_after
from mess.config.model import Config
from mess.event import Position
from tests.integration.capture.reading import Reader, Watching

Db = Database[dict[str, Any]]


def told(reader: Reader) -> list[tuple[str, Any]]:
    return [(event.operation, event.key and event.key["_id"]) for event in reader.events]


@pytest.mark.parametrize("collections", [{}, {"collections": {"orders": {}, "renamed": {}}}], ids=["all", "chosen"])
async def test_drop_rename_and_drop_database_are_told_and_survived(
    watch: Watching, db: Db, collections: dict[str, Any]
) -> None:
    async with watch.open({db.name: collections}) as reader:
        db.orders.insert_one({"_id": 1})
        db.orders.rename("renamed")
        db.renamed.drop()
        db.orders.insert_one({"_id": 2})
        await reader.take(4)
        db.client.drop_database(db.name)
        db.orders.insert_one({"_id": 3})
        db.client.drop_database(db.name)
        db.orders.insert_one({"_id": 4})
        await reader.take_to(4)
    assert told(reader) == [
        ("insert", 1),
        ("rename", None),
        ("drop", None),
        ("insert", 2),
        ("drop", None),
        ("dropDatabase", None),
        ("insert", 3),
        ("drop", None),
        ("dropDatabase", None),
        ("insert", 4),
    ]
    assert len({event.id for event in reader.events}) == 10


@pytest.mark.parametrize("wide", [False, True], ids=["one", "deployment"])
@pytest.mark.parametrize("collections", [{}, {"collections": {"orders": {}}}], ids=["all", "chosen"])
@pytest.mark.parametrize(
    ("match", "dropped"), [({"fullDocument.total": 1}, []), ({"operationType": {"$ne": "drop"}}, ["dropDatabase"])]
)
async def test_the_query_of_a_database_holds_for_its_drop_too(
    watch: Watching, db: Db, collections: dict[str, Any], match: dict[str, Any], dropped: list[str], wide: bool
) -> None:
    async with watch.open({f"{db.name}*" if wide else db.name: {**collections, "match": match}}) as reader:
        db.orders.insert_one({"_id": 1, "total": 1})
        await reader.take(1)
        db.client.drop_database(db.name)
        db.orders.insert_one({"_id": 2, "total": 1})
        await reader.take_to(2)
    assert told(reader) == [("insert", 1), *((each, None) for each in dropped), ("insert", 2)]


@pytest.mark.parametrize("wide", [False, True], ids=["one", "deployment"])
async def test_an_empty_query_of_a_database_lets_its_drop_through_whatever_the_top_level_asks_for(
    watch: Watching, db: Db, wide: bool
) -> None:
    databases: dict[str, Any] = {f"{db.name}*" if wide else db.name: {"match": {}, "collections": {"orders": {}}}}
    async with watch.open(databases, match={"fullDocument.total": 1}) as reader:
        db.orders.insert_one({"_id": 1})
        await reader.take(1)
        db.client.drop_database(db.name)
        db.orders.insert_one({"_id": 2})
        await reader.take_to(2)
    assert told(reader) == [("insert", 1), ("drop", None), ("dropDatabase", None), ("insert", 2)]


async def test_a_deployment_wide_stream_survives_a_dropped_database(
    watch: Watching, db: Db, mongo: MongoClient[dict[str, Any]]
) -> None:
    async with watch.open({f"{db.name}*": {}}) as reader:
        db.orders.insert_one({"_id": 1})
        mongo.drop_database(db.name)
        db.orders.insert_one({"_id": 2})
        await reader.take_to(2)
    assert told(reader) == [("insert", 1), ("drop", None), ("dropDatabase", None), ("insert", 2)]


async def test_a_rename_into_and_out_of_a_watched_collection_is_seen(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {"collections": {"orders": {}}}}) as reader:
        db.other.insert_one({"_id": "unseen"})
        db.other.rename("orders")
        db.orders.insert_one({"_id": 1})
        db.orders.rename("elsewhere")
        db.elsewhere.insert_one({"_id": "unseen, too"})
        db.orders.insert_one({"_id": "end"})
        events = await reader.take_to("end")
    assert told(reader) == [("rename", None), ("insert", 1), ("rename", None), ("insert", "end")]
    assert [events[0].body["to"]["coll"], events[2].body["to"]["coll"]] == ["orders", "elsewhere"]


async def test_it_goes_on_behind_any_events_position(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_many([{"_id": n} for n in range(5)])
        events = await reader.take(5)
    for number, event in enumerate(events[:-1]):
        async with watch.open({db.name: {}}, position_after(event)) as again:
            assert [each.id for each in await again.take(4 - number)] == [each.id for each in events[number + 1 :]]


async def test_what_was_committed_while_nobody_read_is_read(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1})
        await reader.take(1)
    db.orders.insert_one({"_id": 2})
    async with watch.open({db.name: {}}, reader.position) as again:
        assert [event.key for event in await again.take(1)] == [{"_id": 2}]


async def test_a_token_that_another_plan_refuses_is_replaced_by_its_cluster_time(watch: Watching, db: Db) -> None:
    """At least once: nothing behind the position is missing."""
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1})
        db.other.insert_one({"_id": "o"})
        db.orders.insert_one({"_id": 2})
        await reader.take(3)
    _, other, second = reader.events
    async with watch.open({db.name: {"collections": {"orders": {}}}}, position_after(other)) as again:
        events = await again.take(1)
        db.orders.insert_one({"_id": 3})
        await again.take_to(3)
    assert events[0].id == second.id
    assert told(again) == [("insert", 2), ("insert", 3)]


async def test_a_token_is_refused_before_a_drop_as_well(watch: Watching, db: Db) -> None:
    """The position of an event that the new match leaves out, in front of a dropDatabase."""
    async with watch.open({db.name: {}}) as reader:
        db.other.insert_one({"_id": "o"})
        [other] = await reader.take(1)
    db.client.drop_database(db.name)
    db.orders.insert_one({"_id": 1})
    async with watch.open({db.name: {"collections": {"orders": {}}}}, position_after(other)) as again:
        await again.take_to(1)
    assert told(again) == [("dropDatabase", None), ("insert", 1)]


async def test_a_cursor_killed_from_outside_is_opened_anew(watch: Watching, db: Db) -> None:
    async with watch.open({db.name: {}}) as reader:
        db.orders.insert_one({"_id": 1})
        await reader.take(1)
        assert reader.stream._cursor is not None
        cursor, namespace = reader.stream._cursor
        assert db.command("killCursors", namespace, cursors=[cursor])["cursorsKilled"] == [cursor]
        db.orders.insert_one({"_id": 2})
        await reader.take(2)
        assert reader.stream._cursor[0] != cursor
        assert reader.stream.problem is None
    assert told(reader) == [("insert", 1), ("insert", 2)]


async def test_the_position_moves_while_nothing_matches(
    watch: Watching, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_WAIT_BUSY_MS", "IDLE_WAIT_MS"):
        monkeypatch.setattr(f"mess.capture.stream.{name}", 200)
    async with watch.open({db.name: {"collections": {"orders": {}}}}) as reader:
        first = (await reader.read()).position
        assert first.time is not None
        for n in range(3):
            db.other.insert_one({"_id": n})
        await reader.until(lambda: (reader.position or first).time > first.time)  # type: ignore[operator]
    assert reader.events == []
    assert reader.position is not None
    assert reader.position.token != first.token


async def test_start_now_oldest_and_a_time(watch: Watching, db: Db) -> None:
    db.orders.insert_one({"_id": 1})
    begin = Config.model_validate({"databases": {db.name: {}}, "start": "2020-01-01T00:00:00Z"}).start
    assert not isinstance(begin, str)
    assert await fresh_time(watch.client, begin) == Timestamp(1577836800, 1)
    now = await fresh_time(watch.client, "now")
    oldest = await fresh_time(watch.client, "oldest")
    assert oldest == await time_oldest(watch.client) < now
    db.orders.insert_one({"_id": 2})
    async with watch.open({db.name: {}}, Position(None, now)) as reader:
        await reader.take(1)
    assert told(reader) == [("insert", 2)]
    async with watch.open({db.name: {}}, Position(None, oldest)) as reader:
        await reader.take(2)
    assert told(reader) == [("insert", 1), ("insert", 2)]


async def test_a_stream_that_opens_and_cannot_be_read_is_tried_with_growing_pauses(
    watch: Watching, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mess.capture.stream._PAUSE_FIRST", 0.001)
    failures: list[int] = []
    async with watch.open({db.name: {}}) as reader:
        command = reader.stream._command

        async def failing(request: dict[str, Any], **options: Any) -> Any:
            if "getMore" in request and len(failures) < 5:
                failures.append(reader.stream._failures)
                raise OperationFailure("something passing", 8)
            return await command(request, **options)

        monkeypatch.setattr(reader.stream, "_command", failing)
        db.orders.insert_one({"_id": 1})
        await reader.take(1)
        assert reader.stream.problem is None
        assert reader.stream._failures == 0
    assert failures == [0, 1, 2, 3, 4]
