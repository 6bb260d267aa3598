"""Who runs a relay, as MongoDB records it. SQLite's lock is tested in tests/unit/state/test_sqlite_lease.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from mess.errors import Superseded
from mess.state.instance import Instance
from mess.state.lease import Lease
from mess.state.mongo import MongoStore

HERE = Instance.current()
THERE = replace(HERE, id="there", boot="another boot", pid=4711)


@pytest.fixture(params=["pymongo", "motor"])
async def store(request: pytest.FixtureRequest, replica_set: Any, database_name: str) -> AsyncIterator[MongoStore]:
    """A store of either driver."""
    client: Any = (AsyncMongoClient if request.param == "pymongo" else AsyncIOMotorClient)(replica_set.url)
    yield MongoStore(client[database_name], "shop")
    closing = client.close()
    if closing is not None:
        await closing


@pytest.fixture
def lease(store: MongoStore) -> Lease:
    return store.lease


@pytest.fixture
def relays(replica_set: Any, database_name: str) -> Iterator[Any]:
    """The collection in which it is recorded."""
    with MongoClient(replica_set.url, tz_aware=True) as client:
        yield client[database_name].relays


def age(relays: Any, seconds: float) -> None:
    """Make the beat so old."""
    [now] = relays.database.client.admin.aggregate([{"$documents": [{}]}, {"$project": {"now": "$$NOW"}}])
    relays.update_one({"_id": "shop"}, {"$set": {"beat.time": now["now"] - timedelta(seconds=seconds)}})


async def acquired(lease: Lease, instance: Instance, **options: Any) -> float:
    """How many seconds it took to get the lease."""
    began = time.monotonic()
    while await lease.acquire(instance, **options) is not None:
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def test_who_runs_is_known_until_they_release(store: MongoStore) -> None:
    """With host, pid, and since when, which is the server's time."""
    assert await store.alive() is None
    assert await store.lease.acquire(THERE) is None
    found = await store.alive()
    assert found is not None
    assert found.instance == THERE
    assert found.since is not None
    assert abs(datetime.now(timezone.utc) - found.since) < timedelta(seconds=5)
    assert "process 4711 on host" in str(found)
    assert "since 20" in str(found)
    await store.lease.release(THERE)
    assert await store.alive() is None
    assert await store.lease.acquire(HERE) is None


async def test_a_second_process_gets_it_only_when_the_beat_stops(lease: Lease, relays: Any) -> None:
    assert await lease.acquire(THERE) is None
    for _ in range(3):
        holder = await lease.acquire(HERE)
        assert holder is not None
        assert holder.instance == THERE
    age(relays, 12)
    assert (await lease.acquire(HERE)) is not None
    assert await acquired(lease, HERE) < 8, "alive for 15 s after the beat, then lost"


async def test_an_overdue_beat_is_watched_before_it_counts_as_lost(lease: Lease, relays: Any) -> None:
    """While MongoDB was away nobody could beat: whoever comes first afterwards does not push the other out."""
    await lease.acquire(THERE)
    age(relays, 60)
    assert await lease.acquire(HERE) is not None
    await asyncio.sleep(1)
    await lease.renew(THERE)
    await asyncio.sleep(3.2)
    assert await lease.acquire(HERE) is not None
    age(relays, 60)
    assert 3.5 < await acquired(lease, HERE) < 6
    age(relays, 60)
    assert await lease.acquire(THERE, observe=0) is None, "with --wait 0 the server's clock alone decides"


@pytest.mark.parametrize("hours", [-5, 5])
async def test_the_clock_of_this_host_does_not_matter(
    lease: Lease, relays: Any, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    await lease.acquire(THERE)
    shifted = time.time() + hours * 3600
    monkeypatch.setattr(time, "time", lambda: shifted)
    assert await lease.alive() is not None
    assert await lease.acquire(HERE) is not None
    age(relays, 16)
    assert await lease.alive() is None


async def test_a_beat_in_the_servers_future_does_not_hold_the_name_for_ever(lease: Lease, relays: Any) -> None:
    """The server's clock was set back by an hour; a living process would have beaten since."""
    await lease.acquire(THERE)
    age(relays, -3600)
    assert await lease.alive() is None
    assert await acquired(lease, HERE) < 6


async def test_two_hosts_of_one_name_are_two(lease: Lease) -> None:
    """Same host name, same pid, same everything but the boot id: nobody may conclude that the other one has ended."""
    await lease.acquire(replace(HERE, id="twin", boot="another boot"))
    assert await lease.acquire(HERE) is not None
    # And with the pid of a process that does not run here.
    await lease.acquire(replace(HERE, id="twin", boot="another boot", pid=_ended()), force=True)
    assert await lease.acquire(HERE) is not None


async def test_a_pid_of_another_namespace_means_nothing(lease: Lease) -> None:
    """Two containers of one host have a process 1 each."""
    await lease.acquire(replace(HERE, id="other", namespace="pid:[1]", pid=_ended()))
    assert await lease.acquire(HERE) is not None


async def test_a_process_that_was_killed_on_this_host_is_replaced_at_once(lease: Lease) -> None:
    await lease.acquire(replace(HERE, id="killed", pid=_ended()))
    assert await lease.alive() is None
    assert await lease.acquire(HERE) is None


async def test_a_recycled_pid_is_not_taken_for_the_relay(lease: Lease) -> None:
    """The pid lives, but its process began at another time than the relay's."""
    await lease.acquire(replace(HERE, id="killed", pid=os.getppid(), started=1))
    assert await lease.alive() is None
    assert await lease.acquire(HERE) is None


async def test_a_living_process_of_this_host_is_waited_for(lease: Lease) -> None:
    with _living() as process:
        await lease.acquire(replace(process, id="alive"))
        assert await lease.acquire(HERE) is not None
    assert await lease.acquire(HERE) is None


async def test_a_restarted_container_replaces_itself_at_once(lease: Lease) -> None:
    """Same container, so with another pid namespace or after a reboot; a second process in it is another matter."""
    here = replace(HERE, container="c0ffee")
    with _living() as process:
        before = replace(process, id="before", container="c0ffee")
        await lease.acquire(replace(before, namespace="pid:[1]"))
        assert await lease.acquire(here) is None
        await lease.acquire(replace(before, boot="before the reboot"), force=True)
        assert await lease.acquire(here) is None
        await lease.acquire(before, force=True)
        assert await lease.acquire(here) is not None


async def test_our_own_process_is_replaced_at_once(lease: Lease) -> None:
    await lease.acquire(HERE)
    assert await lease.acquire(replace(HERE, id="next")) is None


async def test_force_takes_it_and_the_other_learns_who(lease: Lease) -> None:
    await lease.acquire(THERE)
    assert await lease.acquire(HERE, force=True) is None
    with pytest.raises(Superseded, match=f"'shop': process {os.getpid()} on host"):
        await lease.renew(THERE)
    await lease.release(THERE)
    found = await lease.alive()
    assert found is not None, "whoever has lost it releases nothing"
    assert found.instance.id == HERE.id


async def test_of_two_that_wait_one_gets_it(lease: Lease, relays: Any, replica_set: Any, database_name: str) -> None:
    await lease.acquire(THERE)
    age(relays, 60)
    waiting = [replace(THERE, id=f"waits-{number}", boot=f"boot {number}") for number in range(8)]
    async with AsyncMongoClient(replica_set.url) as client:
        leases = [MongoStore(client[database_name], "shop").lease for _ in waiting]
        pairs = list(zip(leases, waiting, strict=True))
        results = await asyncio.gather(*(each.acquire(instance, observe=0) for each, instance in pairs))
        assert results.count(None) == 1
        await lease.release(waiting[results.index(None)])
        results = await asyncio.gather(*(each.acquire(instance, observe=0) for each, instance in pairs))
        assert results.count(None) == 1


@pytest.mark.parametrize("lost", ["document", "field", "nonsense"])
async def test_a_beat_that_is_deleted_comes_back(lease: Lease, relays: Any, lost: str) -> None:
    """The state was dropped, restored or edited meanwhile: the next beat records the process again."""
    await lease.acquire(THERE)
    if lost == "document":
        relays.drop()
    elif lost == "field":
        relays.update_one({"_id": "shop"}, {"$unset": {"beat": ""}})
    else:
        relays.update_one({"_id": "shop"}, {"$set": {"beat": "nonsense"}})
        assert await lease.alive() is None
    await lease.renew(THERE)
    found = await lease.alive()
    assert found is not None
    assert found.instance == THERE


async def test_a_beat_changes_nothing_else(store: MongoStore, relays: Any) -> None:
    """Epochs and gaps are in the same document."""
    await store.lease.acquire(HERE)
    epoch = await store.take_over()
    before = relays.find_one({"_id": "shop"})
    await store.lease.renew(HERE)
    after = relays.find_one({"_id": "shop"})
    assert after["beat"].pop("time") >= before["beat"].pop("time")
    assert after == before
    await store.lease.release(HERE)
    assert await store.take_over() == epoch + 1


@contextmanager
def _living() -> Iterator[Instance]:
    """A process that runs here until it is killed in the end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        yield replace(HERE, pid=process.pid, started=started)
        process.kill()


def _ended() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid
