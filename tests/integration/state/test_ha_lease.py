"""The record of the lease under `ha`, in each kind of storage."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import DatetimeMS
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from mess.relay.ha.lease_holder import LeaseHolder
from mess.relay.ha.lease_watch import LeaseWatch
from mess.relay.stopping import Stopping
from mess.state import StateStore
from mess.state.ha_lease import HaLease, Wish
from mess.state.instance import Instance
from mess.state.mongo import MongoStore
from mess.state.sqlite import SqliteStore
from tests.waiting import PATIENCE

ONE = replace(Instance.current(), id="one")
OTHER = replace(ONE, id="other", boot="another boot")
THIRD = replace(OTHER, id="third")


@pytest.fixture(params=["pymongo", "motor", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    """A store, opened as a relay does it."""
    found: Any
    closing: Any = None
    if request.param == "sqlite":
        found = SqliteStore(tmp_path / "state.db", "shop")
    else:
        url = request.getfixturevalue("replica_set").url
        client: Any = (AsyncMongoClient if request.param == "pymongo" else AsyncIOMotorClient)(url)
        closing = client.close
        found = MongoStore(client[request.getfixturevalue("database_name")], "shop")
        found.database = client[request.getfixturevalue("database_name")]
    await found.open()
    yield found
    await found.close()
    if closing is not None and (ending := closing()) is not None:
        await ending


@pytest.fixture
async def lease(store: StateStore) -> AsyncIterator[HaLease]:
    found = store.ha_lease(1.0, getattr(store, "database", None))
    yield found
    await found.close()


@pytest.fixture
async def others(store: StateStore) -> AsyncIterator[HaLease]:
    """The same record, as another process reaches it."""
    found = store.ha_lease(1.0, getattr(store, "database", None))
    yield found
    await found.close()


async def test_who_has_it_is_recorded_until_they_release_it(store: StateStore, lease: HaLease) -> None:
    """Also for those who look at it without `ha`."""
    assert await lease.read() is None
    assert await lease.claim(ONE, 12.5, None)
    found = await lease.read()
    assert found is not None
    assert (found.instance, found.count, found.lease, found.wish) == (ONE, 0, 12.5, None)
    assert found.since is not None
    assert not found.has_ended(ONE)
    shown = await store.alive()
    assert shown is not None
    assert shown.instance == ONE
    await lease.release(ONE)
    assert await lease.read() is None
    assert await store.alive() is None


async def test_a_renewal_is_a_sign_of_life(lease: HaLease, others: HaLease) -> None:
    await lease.claim(ONE, 10, None)
    before = await others.read()
    assert before is not None
    again = await others.read()
    assert again is not None
    assert again.sign_of_life == before.sign_of_life
    renewed = await lease.renew(ONE, 0)
    assert renewed is not None
    assert (renewed.instance, renewed.count) == (ONE, 1)
    after = await others.read()
    assert after is not None
    assert after.sign_of_life != before.sign_of_life
    assert await lease.renew(ONE, 0) is None, "only from the count that is stored"
    assert await others.renew(OTHER, 1) is None, "only by the holder"


async def test_only_an_unchanged_record_can_be_replaced(lease: HaLease, others: HaLease) -> None:
    """Of two that saw the same, one gets it; and a renewal in between keeps it."""
    assert await lease.claim(ONE, 10, None)
    assert not await others.claim(OTHER, 10, None)
    seen = await others.read()
    await lease.renew(ONE, 0)
    assert not await others.claim(OTHER, 10, seen)
    seen = await others.read()
    assert await others.claim(OTHER, 10, seen)
    assert not await others.claim(THIRD, 10, seen)
    found = await lease.read()
    assert found is not None
    assert (found.instance, found.count) == (OTHER, 0)
    assert await lease.renew(ONE, 1) is None
    await lease.release(ONE)
    assert (await others.renew(OTHER, 0)) is not None, "whoever has lost it releases nothing"


async def test_a_wish_is_seen_at_the_next_renewal_and_can_be_fulfilled(lease: HaLease, others: HaLease) -> None:
    """The one who asked has the lease then, and nobody can be faster. A wish is no sign of life."""
    await lease.claim(ONE, 10, None)
    seen = await others.read()
    assert seen is not None
    wish = Wish(OTHER, 20)
    await others.ask_for_handover(wish, seen)
    asked = await others.read()
    assert asked is not None
    assert asked.sign_of_life == seen.sign_of_life
    renewed = await lease.renew(ONE, 0)
    assert renewed is not None
    assert renewed.wish == wish
    await lease.release(ONE, wish)
    found = await others.read()
    assert found is not None
    assert (found.instance, found.count, found.lease, found.wish) == (OTHER, 0, 20, None)
    assert (await others.renew(OTHER, 0)) is not None


async def test_a_wish_is_withdrawn_by_whoever_gives_up(lease: HaLease, others: HaLease) -> None:
    """Its own only: the lease must not be given to a process that has ended."""
    await lease.claim(ONE, 10, None)
    seen = await others.read()
    assert seen is not None
    await others.ask_for_handover(Wish(OTHER, 20), seen)
    await others.release(THIRD)
    asked = await lease.read()
    assert asked is not None
    assert asked.wish is not None
    await others.release(OTHER)
    renewed = await lease.renew(ONE, 0)
    assert renewed is not None
    assert renewed.wish is None


async def test_it_changes_neither_epochs_nor_checkpoints(store: StateStore, lease: HaLease) -> None:
    """They are in the same document, or file."""
    await lease.claim(ONE, 10, None)
    epoch = await store.take_over()
    await lease.renew(ONE, 0)
    assert await store.epochs() == (epoch, 0) or (await store.epochs())[0] == epoch
    await lease.release(ONE)
    assert await store.take_over() == epoch + 1


async def test_with_and_without_ha_exclude_each_other(store: StateStore, lease: HaLease) -> None:
    """As seen by another process; and one without `ha` is recognised as such."""
    await lease.claim(OTHER, 10, None)
    if isinstance(store, MongoStore):
        found = await store.lease.acquire(ONE)
        assert found is not None
        assert found.instance == OTHER
    await lease.release(OTHER)
    assert await store.lease.acquire(OTHER) is None
    record = await lease.read()
    assert record is not None
    assert record.instance == OTHER
    assert (record.count, record.lease) == (None, None)
    assert not record.has_ended(ONE)
    await store.lease.release(OTHER)
    async with asyncio.timeout(PATIENCE):
        while await lease.read() is not None:  # noqa: ASYNC110 - until a majority has it
            await asyncio.sleep(0.01)


HOLDER = """
import asyncio, sys
from mess.state.instance import Instance
from mess.state.sqlite import SqliteStore

async def hold():
    store = SqliteStore(sys.argv[1], "shop")
    await store.open()
    if sys.argv[2] == "ha":
        print(await store.ha_lease(1.0).claim(Instance.current(), 60, None), flush=True)
    else:
        print(await store.lease.acquire(Instance.current()), flush=True)
    sys.stdin.readline()

asyncio.run(hold())
"""


@pytest.mark.parametrize("kind", ["ha", "without"])
async def test_the_lock_of_a_file_proves_that_a_process_has_ended(tmp_path: Path, kind: str) -> None:
    """Even where its pid cannot be seen, as from another container with the same volume."""
    path = tmp_path / "state.db"
    store = SqliteStore(path, "shop")
    await store.open()
    lease = store.ha_lease(1.0)
    blind = replace(Instance.current(), boot="", namespace="")
    with subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
        [sys.executable, "-c", HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() in ("True\n", "None\n")
        found = await lease.read()
        assert found is not None
        assert found.instance.pid == process.pid
        assert not found.has_ended(blind)
        if kind == "ha":
            assert await store.lease.acquire(Instance.current()) is not None, "one without `ha` is kept out"
        process.kill()
    found = await lease.read()
    assert found is not None
    assert found.has_ended(blind)
    assert await lease.claim(ONE, 10, found)
    await lease.close()
    await store.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", "many"),
        ("count", 2**63 - 1),
        ("count", -1),
        ("lease", "long"),
        ("lease", math.inf),
        ("since", 2**62),
        ("wish", "{"),
        ("wish", {"id": "third", "lease": 1.0, "pid": math.inf}),
    ],
)
async def test_what_somebody_has_made_of_the_record_keeps_nobody_from_the_lease(
    store: StateStore, lease: HaLease, others: HaLease, tmp_path: Path, field: str, value: Any
) -> None:
    assert await lease.claim(OTHER, 12.5, None)
    if isinstance(store, SqliteStore):
        table = "instances" if field == "since" else "leases"
        with sqlite3.connect(tmp_path / "state.db") as db:
            db.execute(f"UPDATE {table} SET {field} = ?", (json.dumps(value) if isinstance(value, dict) else value,))
        db.close()
    else:
        database: Any = getattr(store, "database")  # noqa: B009 - only this kind has it
        stored = DatetimeMS(value) if field == "since" else value
        await database["relays"].update_one({"_id": "shop"}, {"$set": {f"beat.{field}": stored}})
    found = await others.read()
    assert found is not None
    assert found.instance == OTHER
    assert found.wish is None
    assert found.count in (0, None)
    assert found.lease in (12.5, None)
    watch = LeaseWatch(ONE, 12.5)
    for now in range(60):
        reason = watch.free(found, float(now))
    assert reason is not None
    assert await others.claim(ONE, 12.5, found)
    assert await others.renew(ONE, 0) is not None


async def test_the_holder_repairs_its_record(store: StateStore, lease: HaLease, tmp_path: Path) -> None:
    holder = LeaseHolder(
        store,
        lease,
        ONE,
        stopping=Stopping(),
        seconds=1.0,
        take_over=False,
        interval=1.0,
        grace=lambda: 1.0,
        report=lambda text: None,
    )
    async with holder:
        if isinstance(store, SqliteStore):
            with sqlite3.connect(tmp_path / "state.db") as db:
                db.execute("UPDATE leases SET count = 'many'")
            db.close()
        else:
            database: Any = getattr(store, "database")  # noqa: B009 - only this kind has it
            await database["relays"].update_one({"_id": "shop"}, {"$set": {"beat.count": "many"}})
        await asyncio.sleep(1.5)
        assert not holder.leadership.lapsed


@pytest.mark.parametrize("store", ["pymongo"], indirect=True)
async def test_a_deleted_record_is_not_a_free_lease(store: Any, lease: HaLease, others: HaLease) -> None:
    """Its holder writes it again. If that has ended, the lease is free after its time."""
    watch = LeaseWatch(ONE, 5.0)
    assert watch.free(await others.read(), 0.0, erased=others.erased) == "it was free"  # a relay's first start
    assert await lease.claim(OTHER, 12.5, None)
    assert watch.free(await others.read(), 1.0, erased=others.erased) is None
    await store.database["relays"].delete_one({"_id": "shop"})
    reasons = [watch.free(await others.read(), float(now), erased=others.erased) for now in range(2, 16)]
    assert reasons == [*[None] * 13, "its record was deleted, and no process wrote it again"]
    assert await lease.claim(OTHER, 12.5, None)
    assert watch.free(await others.read(), 16.0, erased=others.erased) is None
    await lease.release(OTHER)
    assert watch.free(await others.read(), 17.0, erased=others.erased) == "it was free"
