"""What every state store promises of backfills, over each of them: PyMongo, Motor, SQLite."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS, MaxKey
from pymongo import AsyncMongoClient, MongoClient

from mess.errors import DamagedState, StateError, Superseded
from mess.event import Namespace
from mess.state import Backfill, BackfillProgress, StateStore
from mess.state.mongo import MongoStore
from mess.state.sqlite import SqliteStore
from tests.integration.state.conftest import Opener
from tests.integration.state.samples import NOW, checkpoint

RUNNING = BackfillProgress(
    "running", None, bson.encode({"_id": {"a": 1}}), 2**40, 2**41, NOW, NOW + timedelta(seconds=1)
)


def backfill(id: str = "bf_1", minutes: float = 0, **changed: Any) -> Backfill:  # noqa: A002
    """A backfill that was requested so many minutes after noon."""
    made = Backfill(id, Namespace("shop", "orders"), "operator", NOW + timedelta(minutes=minutes))
    return replace(made, **changed)


def ended(state: str, time: datetime = NOW) -> BackfillProgress:
    """The progress of one that has ended."""
    return replace(RUNNING, state=state, reason="why", ended=time)


async def running(store: StateStore) -> StateStore:
    """The same store, as of a relay that may save."""
    await store.take_over()
    await store.arrange([["map"]], [checkpoint()])
    return store


async def test_backfills_come_back_as_they_were_added(another: Opener) -> None:
    """Every field, the oldest first, for the relay that they belong to; nothing else is changed by them."""
    store, neighbour = await another(), await another("mess-2")
    full = backfill(
        "bf_2",
        1,
        namespace=Namespace("shop", "a.b $c/é"),
        origin="gap_1",
        match='{"fullDocument.total": {"$gt": 1}}',
        step="http",
        pipeline="shop",
        rate=0.5,
        wanted="paused",
        progress=ended("failed"),
    )
    assert await store.add_backfill(full)
    assert await store.add_backfill(backfill())
    assert await store.backfills() == [backfill(), full]
    assert await neighbour.backfills() == []
    assert await store.epochs() == (0, 0)


@pytest.mark.parametrize(
    "last",
    [
        bson.encode({"_id": DatetimeMS(2**60)}),
        bson.encode({"_id": MaxKey()}),
        b"\x11\0\0\0\x02_id\0\x03\0\0\0\xff\xfe\0\0",  # text that is not UTF-8
        b"\x12\0\0\0\x05_id\0\x03\0\0\0\x04abc\0",  # a UUID of three bytes
    ],
)
async def test_progress_may_be_at_any_id(store: StateStore, last: bytes) -> None:
    """Also at one that Python cannot represent: it is never decoded."""
    await running(store)
    await store.add_backfill(backfill())
    progress = replace(RUNNING, last=last)
    await store.save([], {"bf_1": progress})
    assert await store.backfills() == [backfill(progress=progress)]


async def test_an_id_is_added_once(store: StateStore) -> None:
    """What is there stays, whatever the new one says."""
    assert await store.add_backfill(backfill())
    assert not await store.add_backfill(backfill(minutes=5, rate=3))
    assert await store.backfills() == [backfill()]


async def test_looking_at_state_that_has_none_yet(another: Opener) -> None:
    """Nothing is created for it."""
    looking = await another(lasting=False)
    assert await looking.backfills() == []


async def test_what_has_ended_can_be_left_out(another: Opener) -> None:
    """A relay that follows its backfills reads no more than those, however many there have been."""
    store = await another()
    for state in ("done", "cancelled", "failed"):
        await store.add_backfill(backfill(f"bf_{state}", progress=ended(state)))
    active = [backfill("bf_1"), backfill("bf_2", 1, progress=RUNNING), backfill("bf_3", 2, wanted="cancelled")]
    for each in reversed(active):
        await store.add_backfill(each)
    assert await store.backfills(active=True) == active
    await store.want_backfill("bf_failed", "running")
    assert "bf_failed" in [each.id for each in await store.backfills(active=True)]


async def test_progress_is_saved_with_checkpoints_and_alone(another: Opener) -> None:
    """By id; the others, and an operator's wish, do not change."""
    relay, cli = await running(await another()), await another()
    for each in ("bf_1", "bf_2"):
        await cli.add_backfill(backfill(each))
    await cli.want_backfill("bf_1", "paused")
    await relay.save([checkpoint(second=2)], {"bf_1": RUNNING})
    assert await cli.backfills() == [backfill(wanted="paused", progress=RUNNING), backfill("bf_2")]
    done = replace(RUNNING, last=None, documents=0)
    await relay.save([], {"bf_1": done, "bf_2": RUNNING})
    assert await cli.backfills() == [backfill(wanted="paused", progress=done), backfill("bf_2", progress=RUNNING)]
    assert await cli.checkpoints() == [checkpoint(second=2)]


async def test_an_older_process_never_overwrites_progress(another: Opener) -> None:
    """Not before the newer one has written any, and not with checkpoints or without."""
    old, new = await running(await another()), await another()
    await old.add_backfill(backfill())
    await old.save([], {"bf_1": RUNNING})
    await new.take_over()
    for checkpoints in ([], [checkpoint(second=9)]):
        with pytest.raises(Superseded):
            await old.save(checkpoints, {"bf_1": BackfillProgress()})
    await running(new)
    await new.save([], {"bf_1": ended("done")})
    with pytest.raises(Superseded):
        await old.save([], {"bf_1": BackfillProgress()})
    assert await new.backfills() == [backfill(progress=ended("done"))]


async def test_progress_of_a_removed_backfill_is_dropped(store: StateStore) -> None:
    """It does not come back, and the others' progress is stored."""
    await running(store)
    await store.add_backfill(backfill())
    await store.save([checkpoint(second=3)], {"bf_gone": RUNNING, "bf_1": RUNNING})
    assert await store.backfills() == [backfill(progress=RUNNING)]
    assert await store.checkpoints() == [checkpoint(second=3)]


@pytest.mark.parametrize("wanted", ["running", "paused", "cancelled"])
async def test_a_wish_is_stored(store: StateStore, wanted: str) -> None:
    """Progress stays as it is: only the relay changes that."""
    await store.add_backfill(backfill(progress=RUNNING))
    expected = backfill(wanted=wanted, progress=RUNNING)
    assert await store.want_backfill("bf_1", wanted) == expected
    assert await store.backfills() == [expected]
    assert await store.want_backfill("bf_2", wanted) is None


@pytest.mark.parametrize("state", ["done", "cancelled", "failed"])
@pytest.mark.parametrize("wanted", ["paused", "cancelled", "running"])
async def test_what_has_ended_stays_so(store: StateStore, state: str, wanted: str) -> None:
    """Except what has failed: it can be resumed after its last document."""
    before = backfill(progress=ended(state))
    assert before.ended
    after = before
    if (state, wanted) == ("failed", "running"):
        after = replace(before, progress=replace(RUNNING, state="waiting"))
        assert not after.ended
    await store.add_backfill(before)
    assert await store.want_backfill("bf_1", wanted) == after
    assert await store.backfills() == [after]


async def test_what_ended_long_ago_is_pruned(store: StateStore) -> None:
    """With the retention of dead letters; what has not ended stays, however old."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    old, new = ended("done", now - timedelta(seconds=100)), ended("failed", now)
    await store.add_backfill(backfill("bf_old", progress=old))
    await store.add_backfill(backfill("bf_new", progress=new))
    await store.add_backfill(backfill("bf_running", progress=RUNNING))
    assert await store.prune(None, 0) == 0
    assert await store.prune(200, None) == 0
    assert len(await store.backfills()) == 3
    assert await store.prune(50, None) == 0
    assert [each.id for each in await store.backfills()] == ["bf_new", "bf_running"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"$set": {"last": "x"}}, "the field last holds a str"),
        ({"$set": {"documents": None}}, "the field documents holds a NoneType"),
        ({"$unset": {"wanted": ""}}, "the field wanted is missing"),
        ({"$set": {"wanted": "rest"}}, "the field wanted holds 'rest'"),
        ({"$set": {"state": "lost"}}, "the field state holds 'lost'"),
        ({"$set": {"last": b"x"}}, "the field last holds no BSON document"),
        ({"$set": {"last": bson.encode({})}}, "the field last holds no BSON document with an _id"),
        ({"$set": {"last": bson.encode({"_id": 1, "a": 1})}}, "the field last holds no BSON document with an _id"),
        ({"$set": {"match": "{"}}, "the field match holds no JSON object"),
        ({"$set": {"match": "[]"}}, "the field match holds no JSON object"),
        ({"$set": {"rate": 0}}, "the field rate holds 0"),
        ({"$set": {"rate": float("nan")}}, "the field rate holds nan"),
    ],
)
async def test_a_record_edited_by_hand_is_one_clear_error(
    replica_set: Any, database_name: str, edit: dict[str, Any], says: str
) -> None:
    """It names the record and the remedy, which works."""
    async with AsyncMongoClient[dict[str, Any]](replica_set.url) as client:
        store = MongoStore(client[database_name], "mess")
        await store.add_backfill(backfill())
        with MongoClient[dict[str, Any]](replica_set.url) as by_hand:
            by_hand[database_name].backfills.update_one({"_id": "mess/bf_1"}, edit)
            for reading in (store.backfills(), store.want_backfill("bf_1", "paused")):
                with pytest.raises(DamagedState, match=says) as caught:
                    await reading
            assert f"'mess/bf_1' in collection {database_name}.backfills" in str(caught.value)
            assert 'db.getCollection("backfills").deleteOne({_id: "mess/bf_1"})' in str(caught.value)


async def test_a_row_edited_by_hand_is_one_clear_error(tmp_path: Path) -> None:
    """It names the record and the remedy, which works."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    await store.add_backfill(backfill())
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE backfills SET created = 'yesterday'")
    with pytest.raises(DamagedState, match="'bf_1' in table backfills is damaged") as caught:
        await store.backfills()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(str(caught.value).rpartition("again: ")[2])
    assert await store.backfills() == []
    await store.close()


@pytest.mark.parametrize("edit", ["rate = 0", "db = CAST(x'ff' AS TEXT)"])
async def test_a_damaged_row_does_not_keep_the_relay_from_writing(tmp_path: Path, edit: str) -> None:
    """Others come after it, and somebody else removes it."""
    store = SqliteStore(tmp_path / "state.db", "mess", retry_for=1)
    await store.open()
    for number in range(3):
        await store.add_backfill(backfill(f"bf_{number}"))
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"UPDATE backfills SET {edit} WHERE id = 'bf_0'")
    with pytest.raises(StateError) as caught:
        await store.backfills()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("DELETE FROM backfills WHERE id = 'bf_0'")
    await store.add_backfill(backfill("bf_3"))
    assert len(await store.backfills()) == 3
    assert caught.value.exit_code == 5  # the error is still there, and with it what it was raised in
    await store.close()


async def test_progress_survives_state_that_is_removed_while_running(replica_set: Any, database_name: str) -> None:
    """Positions are stored again; so is the progress of backfills that are still there."""
    async with AsyncMongoClient[dict[str, Any]](replica_set.url) as client:
        store = await running(MongoStore(client[database_name], "mess"))
        await store.add_backfill(backfill())
        await client[database_name].checkpoints.delete_many({})
        await store.save([checkpoint(second=5)], {"bf_1": RUNNING})
        assert await store.checkpoints() == [checkpoint(second=5)]
        assert await store.backfills() == [backfill(progress=RUNNING)]
