"""State that an earlier version recorded is read without loss, and is written on."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp
from pymongo import AsyncMongoClient, MongoClient

from mess.event import Namespace, Position
from mess.state import Backfill, BackfillProgress, Checkpoint, StateStore
from mess.state.mongo import MongoStore
from mess.state.sqlite import SqliteStore
from tests.integration.state.samples import NOW
from tests.recorded import CONFIGS, FILES, STORES, plain, read, reading, restore

NAMES = dict(zip(CONFIGS, ("recorded", "recorded-js"), strict=True))


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> Any:
    """Where the state was recorded."""
    return request.param


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Any:
    """Whose state it is."""
    return request.param


@pytest.fixture
def before(kind: str, config: str) -> Any:
    """What the earlier version read."""
    return read()["states"][kind][config]


@pytest.fixture
async def store(request: pytest.FixtureRequest, kind: str, config: str, tmp_path: Path) -> AsyncIterator[StateStore]:
    """A store on the recorded state."""
    if kind == "sqlite":
        shutil.copyfile(FILES / "state.db", tmp_path / "state.db")
        store = SqliteStore(tmp_path / "state.db", NAMES[config])
        await store.open()
        yield store
        await store.close()
    else:
        url, name = request.getfixturevalue("replica_set").url, request.getfixturevalue("database_name")
        with MongoClient[dict[str, Any]](url) as client:
            restore(client[name])
        async with AsyncMongoClient[dict[str, Any]](url) as asynchronous:
            opened = MongoStore(asynchronous[name], NAMES[config])
            await opened.open()
            yield opened


async def test_everything_is_read_as_before(store: StateStore, before: dict[str, Any]) -> None:
    """Map, positions, gaps, epochs, and dead letters with every BSON type and their histories; taken over or not."""
    assert before["coverage"]
    assert before["letters"]
    assert before["gaps"]
    assert plain(await reading.state(store)) == before
    epoch = await store.take_over()
    assert epoch == int(before["epochs"][0]["$numberInt"]) + 1
    assert {**plain(await reading.state(store)), "epochs": before["epochs"]} == before


async def test_positions_are_written_on(store: StateStore) -> None:
    await store.take_over()
    old = await store.positions()
    assert old.coverage is not None
    await store.arrange(old.coverage, old.checkpoints)
    assert await store.positions() == old
    moved = Checkpoint("moved", "plan", Position({"_data": "82"}, Timestamp(9, 9)), NOW)
    await store.save([moved])
    now = {each.stream: each for each in (await store.positions()).checkpoints}
    assert now == {each.stream: each for each in (*old.checkpoints, moved)}


async def test_dead_letters_are_replaced_deleted_and_pruned(store: StateStore, before: dict[str, Any]) -> None:
    """A letter is recognised as the one that was read, or it would stay as it is."""
    letters = [await store.dead_letter(pointer.id) for pointer in await store.pointers()]
    found = [letter for letter in letters if letter is not None]
    changed = replace(found[0], attempts=17, reason="another")
    assert await store.replace_unchanged([changed]) == 1
    assert await store.dead_letter(changed.id) == changed
    assert await store.delete_unchanged([letter for letter in found if letter is not found[0]]) == len(found) - 1
    await store.add_dead_letters([replace(changed, id="msg_new", time=NOW)])
    assert await store.prune(None, 1) == 1
    assert await store.count_dead_letters() == 1


async def test_backfills_are_new(store: StateStore) -> None:
    """There are none in that state, and it takes them and their progress."""
    assert await store.backfills() == []
    await store.take_over()
    old = await store.positions()
    assert old.coverage is not None
    await store.arrange(old.coverage, old.checkpoints)
    added = Backfill("bf_1", Namespace("recorded_shop", "orders"), "initial", NOW)
    assert await store.add_backfill(added)
    await store.save([], {"bf_1": BackfillProgress("running", documents=3)})
    assert await store.backfills() == [replace(added, progress=BackfillProgress("running", documents=3))]


async def test_gaps_are_closed_and_removed(store: StateStore) -> None:
    gaps = await store.gaps()
    for gap in gaps:
        if gap.open:
            await store.close_gap(gap, Timestamp(2**31, 1))
        else:
            await store.remove_gap(gap)
    left = {gap.stream: gap for gap in await store.gaps()}
    opened = {gap.stream: gap for gap in gaps if gap.open}
    assert left == {name: replace(gap, open=False, until=Timestamp(2**31, 1)) for name, gap in opened.items()}
