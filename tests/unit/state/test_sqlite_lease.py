"""Who runs a relay whose state is in a file: a lock that the kernel takes back, and a record to be shown."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mess.errors import Superseded
from mess.state.instance import Instance
from mess.state.lease import Lease
from mess.state.sqlite import SqliteStore

HERE = Instance.current()
HOLDER = """
import asyncio, sys
from pathlib import Path
from mess.state.instance import Instance
from mess.state.sqlite import SqliteStore

async def hold():
    store = SqliteStore(Path(sys.argv[1]), sys.argv[2])
    await store.open()
    instance = Instance.current()
    print(await store.lease.acquire(instance), flush=True)
    if sys.stdin.readline():
        await store.lease.release(instance)
        print("released", flush=True)
        sys.stdin.readline()

asyncio.run(hold())
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    found = SqliteStore(tmp_path / "state.db", "shop")
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def lease(store: SqliteStore) -> Lease:
    return store.lease


@contextmanager
def holder(folder: Path, relay: str = "shop") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the relay's lease, until it is given a line, or is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder / "state.db"), relay],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "None\n"
        try:
            yield process
        finally:
            process.kill()


async def test_another_process_is_waited_for_until_it_releases(store: SqliteStore, tmp_path: Path) -> None:
    """Who it is can be told meanwhile."""
    assert await store.alive() is None
    with holder(tmp_path) as process:
        for found in (await store.alive(), await store.lease.acquire(HERE)):
            assert found is not None
            assert found.instance.pid == process.pid
            assert f"process {process.pid} on host" in str(found)
            assert "since 20" in str(found)
            assert "last seen" not in str(found)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("release\n")
        process.stdin.flush()
        assert process.stdout.readline() == "released\n"
        assert await store.alive() is None
        assert await store.lease.acquire(HERE) is None


async def test_a_process_that_is_killed_loses_it_at_once(lease: Lease, tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert await lease.alive() is None
        assert await lease.acquire(HERE) is None


async def test_a_relay_of_another_name_in_the_same_file_is_no_obstacle(lease: Lease, tmp_path: Path) -> None:
    with holder(tmp_path, "other"):
        assert await lease.acquire(HERE) is None


async def test_a_link_to_the_file_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "state.db")
    with holder(tmp_path):
        store = SqliteStore(tmp_path / "link.db", "shop")
        await store.open()
        assert await store.lease.acquire(HERE) is not None
        await store.close()


async def test_whoever_is_forced_out_learns_who_did_it(lease: Lease, tmp_path: Path) -> None:
    """And the lock, which they release in the end, is the other's from then on."""
    with holder(tmp_path) as process:
        assert await lease.acquire(HERE, force=True) is None
        await lease.renew(HERE)
        process.kill()
        process.wait()
        await lease.renew(HERE)
    assert not _can_acquire(tmp_path)


async def test_a_second_relay_of_this_process_takes_it(lease: Lease, tmp_path: Path) -> None:
    """The first one learns it, and what it releases is not the second one's lock."""
    other = SqliteStore(tmp_path / "state.db", "shop")
    await other.open()
    assert await lease.acquire(HERE) is None
    second = replace(HERE, id="second")
    assert await other.lease.acquire(second) is None
    with pytest.raises(Superseded, match=r"'shop': process \d+ on host .* \(instance second\)"):
        await lease.renew(HERE)
    await lease.release(HERE)
    found = await lease.alive()
    assert found is not None
    assert found.instance == second
    assert not _can_acquire(tmp_path)
    await other.lease.release(second)
    assert _can_acquire(tmp_path)
    await other.close()


async def test_looking_does_not_release_it(lease: Lease, tmp_path: Path) -> None:
    """A process's POSIX locks are gone as soon as it closes any descriptor of their file."""
    await lease.acquire(HERE)
    other = SqliteStore(tmp_path / "state.db", "shop")
    await other.open()
    assert await other.alive() is not None
    await other.close()
    assert not _can_acquire(tmp_path)


async def test_a_child_process_does_not_keep_it(lease: Lease, tmp_path: Path) -> None:
    """A user's function may fork; what it started may outlive the relay."""
    await lease.acquire(HERE)
    child = multiprocessing.get_context("fork").Process(target=sys.stdin.read)
    child.start()
    try:
        await lease.release(HERE)
        assert _can_acquire(tmp_path)
    finally:
        child.kill()
        child.join()


async def test_a_deleted_lock_file_and_record_are_made_again(lease: Lease, tmp_path: Path) -> None:
    await lease.acquire(HERE)
    (tmp_path / "state.db.shop.lock").unlink()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("DELETE FROM instances")
    db.close()
    await lease.renew(HERE)
    assert not _can_acquire(tmp_path)
    found = await lease.alive()
    assert found is not None
    assert found.instance == HERE


async def test_a_damaged_record_is_an_unknown_process(lease: Lease, tmp_path: Path) -> None:
    with holder(tmp_path):
        with sqlite3.connect(tmp_path / "state.db") as db:
            db.execute("UPDATE instances SET instance = 'nonsense'")
        db.close()
        found = await lease.acquire(HERE)
        assert found is not None
        assert "host unknown" in str(found)


def _can_acquire(folder: Path) -> bool:
    """Whether another process gets the lock."""
    attempt = subprocess.run(
        [sys.executable, "-c", HOLDER, str(folder / "state.db"), "shop"],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    return attempt.stdout == "None\n"
