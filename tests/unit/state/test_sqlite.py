"""What `SqliteStore` promises beyond the contract: clear errors for unfit files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mess.errors import StateError
from mess.event import Position
from mess.state import Checkpoint
from mess.state.sqlite import SqliteStore

CHECKPOINT = Checkpoint("shop", "abc", Position({"_data": "82"}, None), datetime(2026, 7, 1, tzinfo=timezone.utc))


async def test_a_missing_folder(tmp_path: Path) -> None:
    """It is not made: a typing error would begin a new state."""
    with pytest.raises(StateError, match=r"state\.url: the folder .*nowhere of state\.db does not exist; create it"):
        await SqliteStore(tmp_path / "nowhere" / "state.db", "mess").open()
    assert not (tmp_path / "nowhere").exists()


async def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at the start, with the remedy. (The tests may run as root, who may write anything.)"""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(StateError, match="cannot be written; give the relay's user permission"):
        await SqliteStore(tmp_path / "state.db", "mess").open()


async def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    """SQLite's own words are not left alone."""
    with pytest.raises(StateError, match=r"state\.url: .* cannot be opened") as caught:
        await SqliteStore(tmp_path, "mess").open()
    assert isinstance(caught.value.__cause__, sqlite3.Error)


async def test_a_file_of_another_kind(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than a header is: " + "x" * 1000)
    with pytest.raises(StateError, match=r"state\.url: .* cannot be used: file is not a database"):
        await SqliteStore(path, "mess").open()
    assert path.read_text().startswith("not a database")


async def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    """It is not guessed at."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StateError, match=r"written by a newer MESS \(schema 99\)"):
        await SqliteStore(path, "mess").open()


async def test_every_write_is_on_disk(tmp_path: Path) -> None:
    """Write-ahead log, flushed with each transaction."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    db = store._connection
    assert db is not None
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    await store.close()


async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    """And a write that has waited too long is a StateError."""
    path = tmp_path / "state.db"
    store = SqliteStore(path, "mess", retry_for=0.2)
    await store.open()
    await store.take_over()
    await store.arrange([], [])
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match=r"cannot keep state in .*: database is locked"):
        await store.save([CHECKPOINT])
    timer = threading.Timer(0.05, holder.rollback)
    timer.start()
    await store.save([CHECKPOINT])
    timer.join()
    holder.close()
    assert await store.checkpoints() == [CHECKPOINT]
    await store.close()


async def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """All streams or none."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    await store.take_over()
    await store.arrange([], [])
    broken = Checkpoint("b", None, Position(None, None), CHECKPOINT.updated)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="NOT NULL"):
        await store.save([CHECKPOINT, broken])
    assert await store.checkpoints() == []
    await store.save([CHECKPOINT])
    assert await store.checkpoints() == [CHECKPOINT]
    await store.close()


async def test_state_survives_a_killed_process(tmp_path: Path) -> None:
    """What was reported as saved is there, though nothing was closed."""
    program = """
import asyncio, os, sys
from tests.unit.state.test_sqlite import CHECKPOINT
from mess.state.sqlite import SqliteStore
async def main():
    store = SqliteStore(sys.argv[1], "mess")
    await store.open()
    await store.take_over()
    await store.arrange([], [])
    await store.save([CHECKPOINT])
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    path = tmp_path / "state.db"
    root = Path(__file__).parents[3]
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(path), cwd=root)
    assert await killed.wait() == -9
    store = SqliteStore(path, "mess")
    await store.open()
    assert await store.checkpoints() == [CHECKPOINT]
    assert await store.take_over() == 2
    await store.close()


async def test_unopened_and_closed(tmp_path: Path) -> None:
    """Using a store that is not open is told; closing one twice is not an error."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    with pytest.raises(StateError, match="has not been opened"):
        await store.checkpoints()
    await store.close()
    await store.open()
    await store.close()
    await store.close()


def _modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("state.db*")}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("kind", ["new", "existing", "link"])
async def test_only_the_owner_can_read_the_files(tmp_path: Path, kind: str) -> None:
    """Dead letters hold documents. Files that an earlier version left open to others are closed."""
    path = tmp_path / "state.db"
    if kind == "existing":
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"state.db{suffix}").touch(0o644)
    elif kind == "link":
        path.symlink_to("state.db.elsewhere")
    store = SqliteStore(path, "mess")
    await store.open()
    await store.take_over()
    found = _modes(path)
    await store.close()
    assert set(found.values()) == {0o600}
    assert len(found) >= 3


@pytest.mark.usefixtures("usual_umask")
async def test_files_of_others_keep_their_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when root looks at a relay's state. (The tests may run as root.)"""
    path = tmp_path / "state.db"
    path.touch(0o644)
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    store = SqliteStore(path, "mess")
    await store.open()
    await store.close()
    assert _modes(path)["state.db"] == 0o644


@dataclass(frozen=True, slots=True)
class Labelled(Checkpoint):
    """A checkpoint as a later MESS may store it."""

    label: str = ""

    def fields(self) -> dict[str, Any]:
        return {**super(Labelled, self).fields(), "label": self.label}


async def test_a_file_takes_a_field_that_it_did_not_have(tmp_path: Path) -> None:
    """A later MESS adds it with the first checkpoint that has it; an earlier one uses the file as before."""
    path = tmp_path / "state.db"
    store = SqliteStore(path, "mess")
    await store.open()
    await store.take_over()
    await store.arrange([], [CHECKPOINT])
    await store.save([Labelled("crm", "abc", CHECKPOINT.position, CHECKPOINT.updated, label="blue")])
    with closing(sqlite3.connect(path)) as db:
        stored = dict(db.execute("SELECT stream, label FROM positions"))
    assert stored == {"shop": None, "crm": "blue"}
    await store.save([replace(CHECKPOINT, stream="crm")])
    assert await store.checkpoints() == [replace(CHECKPOINT, stream="crm"), CHECKPOINT]
    await store.close()
