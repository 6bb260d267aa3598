"""State that was removed, restored, edited by hand, or written by another version, in both places of storage."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Timestamp
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure

from mess.errors import DamagedState, StateError
from mess.event import Position
from mess.state import Positions
from mess.state.mongo import MongoStore
from mess.state.records import Gap, LegacyCheckpoint
from mess.state.sqlite import SqliteStore
from tests.integration.state.samples import NOW, checkpoint

SELECTION = {"entries": [], "rules": [{"db": "a.$b", "coll": "*", "t": 1, "i": 1}]}


@pytest.fixture
def database(replica_set: Any, database_name: str) -> Any:
    """The state's database, for a hand that edits it."""
    with MongoClient[dict[str, Any]](replica_set.url, tz_aware=True) as client:
        yield client[database_name]


@pytest.fixture
async def store(replica_set: Any, database_name: str) -> Any:
    """A store in MongoDB that is open and not yet taken over."""
    async with AsyncMongoClient[dict[str, Any]](replica_set.url) as client:
        opened = MongoStore(client[database_name], "mess")
        await opened.open()
        yield opened


@pytest.mark.parametrize("removed", ["relays", "everything"])
async def test_state_that_is_removed_while_running_costs_nothing(
    store: MongoStore, database: Any, removed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is stored again with the next checkpoint: map, and the positions of streams that did not move too."""
    await store.take_over()
    await store.take_over()
    await store.arrange([["map"]], [checkpoint("quiet", second=3), checkpoint()])
    await store.save([checkpoint(second=5)])
    database.relays.drop() if removed == "relays" else database.client.drop_database(database.name)
    await store.save([checkpoint(second=6)])
    assert await store.positions() == Positions([["map"]], (checkpoint("quiet", second=3), checkpoint(second=6)))
    with caplog.at_level(logging.WARNING):
        assert await store.take_over() == 3
    assert ("older than its checkpoints" in caplog.text) is True
    await store.save([checkpoint(second=7)])


async def test_a_backup_that_is_restored_while_running_is_written_over(store: MongoStore, database: Any) -> None:
    """The older map must not stand beside newer positions."""
    await store.take_over()
    await store.arrange([["old"]], [checkpoint("a", second=1)])
    backup = list(database.checkpoints.find())
    await store.arrange([["new"]], [checkpoint("a", second=5), checkpoint("b", second=5)])
    database.checkpoints.delete_many({})
    database.checkpoints.insert_many(backup)
    await store.save([checkpoint("b", second=6)])
    assert await store.positions() == Positions([["new"]], (checkpoint("a", second=5), checkpoint("b", second=6)))


async def test_positions_of_another_arrangement_do_not_count(store: MongoStore, database: Any) -> None:
    """As after a crash between the map and the positions: the map alone says how far everything is done."""
    await store.take_over()
    await store.arrange([["map"]], [checkpoint("a", second=9)])
    database.checkpoints.update_one({"_id": "mess"}, {"$set": {"arrangement": "newer", "coverage": [["newer"]]}})
    assert await store.positions() == Positions([["newer"]], ())


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"$unset": {"token": ""}}, "the field token is missing"),
        ({"$set": {"token": "82"}}, "the field token holds a str"),
        ({"$set": {"time": 17}}, "the field time holds a int"),
        ({"$set": {"token": None, "time": None}}, "neither a token nor a time"),
        ({"$unset": {"arrangement": ""}}, "the field arrangement is missing"),
        ({"$unset": {"plan": ""}}, "the field plan is missing"),
        ({"$set": {"updated": "yesterday"}}, "the field updated holds a str"),
    ],
)
async def test_a_checkpoint_edited_by_hand_is_one_clear_error(
    store: MongoStore, database: Any, edit: dict[str, Any], says: str
) -> None:
    """It names the record and the remedy, which works."""
    await store.take_over()
    await store.arrange([["map"]], [checkpoint()])
    database.checkpoints.update_one({"_id": "mess/shop"}, edit)
    with pytest.raises(DamagedState, match=says) as caught:
        await store.positions()
    assert f"'mess/shop' in collection {database.name}.checkpoints" in str(caught.value)
    assert 'mess checkpoints reset --stream "shop"' in str(caught.value)
    assert caught.value.exit_code == 5
    assert await store.remove_position("shop")
    assert await store.positions() == Positions([["map"]], ())


async def test_a_map_edited_by_hand_is_one_clear_error(store: MongoStore, database: Any) -> None:
    await store.take_over()
    await store.arrange([["map"]], [])
    for edit in ({"$set": {"coverage": "none"}}, {"$unset": {"coverage": ""}}):
        database.checkpoints.update_one({"_id": "mess"}, edit)
        with pytest.raises(DamagedState, match=r"the field coverage .*reset --all"):
            await store.positions()


GAP = Gap("", Timestamp(1, 1), None, "refused", NOW, kind="skipped", pipeline="shop", step="http", count=1)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"$set": {"kind": "eaten"}}, "the field kind holds 'eaten'"),
        ({"$set": {"time": "yesterday"}}, "the field time holds a str"),
        ({"$set": {"since": 5}}, "the field since holds a int"),
        ({"$set": {"namespaces": "shop.*"}}, "the field namespaces holds a str"),
        ({"$set": {"namespaces": [5]}}, "the field namespaces holds what is not text"),
        ({"$unset": {"reason": ""}}, "the field reason is missing"),
    ],
)
async def test_a_gap_edited_by_hand_is_one_clear_error(
    store: MongoStore, database: Any, edit: dict[str, Any], says: str
) -> None:
    """It names the record and the remedy."""
    await store.record_gap(GAP)
    database.gaps.update_one({}, edit)
    with pytest.raises(DamagedState, match=says) as caught:
        await store.gaps()
    assert f"'mess/{GAP.id}' in collection {database.name}.gaps" in str(caught.value)
    assert f'remove it: db.getCollection("gaps").deleteOne({{_id: "mess/{GAP.id}"}})' in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("kind = 'eaten'", "the field kind holds 'eaten'"),
        ("time = 9e18", "too large"),
        ("time = 'x'", "str"),
        ("since_t = 1e12, since_i = 1", "field|time|must"),
        ("namespaces = '['", "Expecting"),
        ("namespaces = '5'", "the field namespaces holds a int"),
        ("reason = x'ff'", "the field reason holds a bytes"),
    ],
)
async def test_a_gap_edited_by_hand_in_a_file_is_one_clear_error(tmp_path: Path, edit: str, says: str) -> None:
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    await store.record_gap(GAP)
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"UPDATE gap_records SET {edit}")
    with pytest.raises(DamagedState, match=says) as caught:
        await store.gaps()
    removal = str(caught.value).rpartition("remove it: ")[2]
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(removal)
    assert await store.gaps() == []
    await store.close()


def old_state(database: Any, epoch: int = 41) -> None:
    """State as MESS 0.1 leaves it."""
    database.relays.insert_one(
        {
            "_id": "mess",
            "epoch": epoch,
            "gaps": [
                {
                    "stream": "shop",
                    "since": Timestamp(1, 1),
                    "until": Timestamp(2, 1),
                    "reason": "history lost",
                    "time": NOW,
                }
            ],
        }
    )
    stream = {"relay": "mess", "epoch": epoch, "plan": "abc", "selection": json.dumps(SELECTION), "updated": NOW}
    database.checkpoints.insert_many(
        [
            {"_id": "mess", "relay": "mess", "epoch": epoch, "fence": True},
            {**stream, "_id": "mess/shop", "stream": "shop", "token": {"_data": "82"}, "time": Timestamp(5, 1)},
            {**stream, "_id": "mess/gone", "stream": "gone", "token": None, "time": None, "deleted": True},
        ]
    )


LEGACY = Positions(legacy=(LegacyCheckpoint("shop", "abc", SELECTION, Position({"_data": "82"}, Timestamp(5, 1))),))


async def test_the_state_of_the_first_version_is_read(store: MongoStore, database: Any) -> None:
    """Its checkpoints and gaps; and epochs go on above its own, for it may be running still."""
    old_state(database)
    assert await store.positions() == LEGACY
    [gap] = await store.gaps()
    assert (gap.since, gap.until, gap.open) == (Timestamp(1, 1), Timestamp(2, 1), False)
    assert await store.take_over() == 42
    assert await store.positions() == LEGACY
    await store.arrange([["map"]], [checkpoint()])
    assert await store.positions() == Positions([["map"]], (checkpoint(),))
    assert [each["_id"] for each in database.checkpoints.find().sort("_id", 1)] == ["mess", "mess/shop"]


async def test_the_first_version_refuses_newer_state_and_ends_where_it_runs(store: MongoStore, database: Any) -> None:
    """What it does at its start fails, before it has changed anything; what it writes meets a newer epoch."""
    old_state(database)
    await store.take_over()
    await store.arrange([["map"]], [checkpoint()])
    with pytest.raises(OperationFailure, match="mess"):
        database.relays.find_one_and_update({"_id": "mess"}, {"$inc": {"epoch": 1}}, upsert=True)
    fence = database.checkpoints.find_one({"_id": "mess", "epoch": {"$lte": 41}})
    assert fence is None, "an upsert of this finds the name taken"
    assert database.relays.find_one({"_id": "mess"})["epoch"] > 41
    assert await store.take_over() == 43


def old_file(path: Path) -> None:
    """A file as MESS 0.1 leaves it."""
    with sqlite3.connect(path) as db:
        db.executescript(
            """
            CREATE TABLE relays (relay TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE checkpoints (
                relay TEXT NOT NULL, stream TEXT NOT NULL, plan TEXT NOT NULL, selection TEXT NOT NULL,
                token BLOB, time_t INTEGER, time_i INTEGER, updated INTEGER NOT NULL,
                PRIMARY KEY (relay, stream)
            ) WITHOUT ROWID;
            CREATE TABLE dead_letters (
                relay TEXT NOT NULL, id TEXT NOT NULL, pipeline TEXT NOT NULL, step TEXT NOT NULL, db TEXT NOT NULL,
                coll TEXT NOT NULL, operation TEXT NOT NULL, key BLOB, reason TEXT NOT NULL, error TEXT NOT NULL,
                attempts INTEGER NOT NULL, time INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (relay, id)
            );
            CREATE TABLE gaps (
                relay TEXT NOT NULL, stream TEXT NOT NULL, since_t INTEGER, since_i INTEGER, until_t INTEGER,
                until_i INTEGER, reason TEXT NOT NULL, time INTEGER NOT NULL
            );
            PRAGMA user_version = 1;
            """
        )
        db.execute("INSERT INTO relays VALUES ('mess', 41)")
        row = ("mess", "shop", "abc", json.dumps(SELECTION), bson.encode({"_data": "82"}), 5, 1, 0)
        db.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO gaps VALUES ('mess', 'shop', 1, 1, 2, 1, 'history lost', 0)")
    db.close()


async def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """Only a relay that starts makes it one of the new version, which the old one then refuses."""
    old_file(tmp_path / "state.db")
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()

    def version() -> int:
        with sqlite3.connect(tmp_path / "state.db") as db:
            return int(db.execute("PRAGMA user_version").fetchone()[0])

    assert await store.positions() == LEGACY
    [gap] = await store.gaps()
    assert (gap.since, gap.until) == (Timestamp(1, 1), Timestamp(2, 1))
    assert version() == 1
    assert await store.take_over() == 42
    assert version() == 2
    await store.arrange([["map"]], [checkpoint()])
    assert await store.positions() == Positions([["map"]], (checkpoint(),))
    await store.close()


async def test_a_file_edited_by_hand_is_one_clear_error(tmp_path: Path) -> None:
    """It names the record and the remedy."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    await store.take_over()
    await store.arrange([["map"]], [checkpoint()])
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE positions SET token = x'0102'")
    with pytest.raises(DamagedState, match=r"'shop' in table positions .*reset --stream .shop"):
        await store.positions()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE coverage SET rules = '[['")
    with pytest.raises(DamagedState, match=r"'mess' in table coverage .*reset --all"):
        await store.positions()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("DELETE FROM relays")
        db.execute("UPDATE coverage SET rules = '[]', epoch = 41")
    assert await store.take_over() == 42
    await store.close()


async def test_a_new_file_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A lost volume must not look like a fresh start."""
    for expected in (True, False):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            store = SqliteStore(tmp_path / "state.db", "mess")
            await store.open()
            await store.close()
        assert ("created a new state file" in caplog.text) is expected


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(StateError, match="newer MESS"):
        await SqliteStore(tmp_path / "state.db", "mess").open()
