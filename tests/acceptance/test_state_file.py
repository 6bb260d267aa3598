"""A state file that is deleted or replaced while a relay uses it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.acceptance.commands import mess, running, write
from tests.acceptance.conftest import Db

SECONDS = 4.0
"""A checkpoint interval, and what an end takes on a busy machine."""


pytestmark = pytest.mark.parametrize("config", ["sqlite"], indirect=True)


@pytest.fixture
def state(config: Path, tmp_path: Path) -> Path:
    """The config's state file, in a folder of its own."""
    folder = tmp_path / "state"
    folder.mkdir()
    url = f"sqlite:///{folder}/state.db"
    write(tmp_path, {**yaml.safe_load(config.read_text()), "state": {"url": url}})
    return folder / "state.db"


def deleted(path: Path) -> None:
    for each in path.parent.glob("state.db*"):
        each.unlink()


def only_deleted(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replaced_by_move(path: Path) -> None:
    copy = path.with_name("restored.db")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    copy.replace(path)


def rewritten(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def log_deleted(path: Path) -> None:
    path.with_name("state.db-wal").unlink()


@pytest.mark.parametrize(
    "change", [deleted, only_deleted, moved, replaced_by_move, rewritten, folder_moved, log_deleted]
)
async def test_a_state_file_that_is_deleted_or_replaced_ends_the_relay_with_5(
    config: Path, state: Path, change: Callable[[Path], None]
) -> None:
    """Within a checkpoint interval, though nothing is to be recorded: it would record its progress where nobody finds
    it again."""
    async with running(config) as relay:
        await relay.connected()
        await asyncio.sleep(1.5)
        assert relay.process.poll() is None
        change(state)
        began = time.monotonic()
        assert await relay.ended() == 5, relay.text
        assert time.monotonic() - began < SECONDS
        last = relay.text.splitlines()[-1]
        assert last.startswith("state.url: /")
        assert "state.db" in last
        assert "while the relay was using it" in last
        assert "Traceback" not in relay.text


async def test_a_backup_that_takes_the_place_of_a_file_that_was_deleted_in_use_is_whole(
    config: Path, state: Path, db: Db
) -> None:
    """The write-ahead log that the relay leaves behind belongs to the file that is gone."""
    backup = state.with_name("backup.db")
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_many({"_id": n} for n in range(5))
        await relay.until(lambda: sum(line["count"] for line in relay.said("events given up")) == 5, "five letters")
        assert await relay.stop() == 0
    shutil.copy2(state, backup)
    async with running(config) as relay:
        await relay.connected()
        # More than the log holds before SQLite writes it into the file for the first time (1,000 pages).
        db.orders.insert_many({"_id": n, "text": os.urandom(40_000).hex()} for n in range(10, 90))
        await relay.until(lambda: sum(line["count"] for line in relay.said("events given up")) == 80, "the letters")
        only_deleted(state)
        assert await relay.ended() == 5
        assert f"delete {state}-wal" in relay.text
    shutil.copy2(backup, state)
    listed = await mess("dead-letters", "list", "--json", "--config", config, folder=config.parent)
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)["letters"]) == 5
    with sqlite3.connect(state) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_damaged_file_is_said_to_be_with_the_remedy(config: Path, state: Path) -> None:
    with sqlite3.connect(state) as connection:
        connection.execute("CREATE TABLE relays (relay TEXT)")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with open(state, "r+b") as file:  # noqa: ASYNC230 - nothing else runs
        file.seek(100)
        file.write(bytes(4096))
    for command in ("run", "check"):
        done = await mess(command, "--config", config, folder=config.parent)
        assert done.returncode == 5
        said = done.stderr + done.stdout
        assert "Restore a backup" in said
        assert f"{state}-wal" in said.replace("\n", "")
        assert "Traceback" not in said


async def test_a_state_file_that_is_read_copied_or_compacted_is_in_its_place(config: Path, state: Path) -> None:
    """A backup, `mess checkpoints list` and VACUUM are no reason to stop."""
    async with running(config) as relay:
        await relay.connected()
        for _ in range(2):
            shutil.copy2(state, state.with_name("copy.db"))
            os.utime(state)
            assert (await mess("checkpoints", "list", "--config", config, folder=config.parent)).returncode == 0
            with sqlite3.connect(state) as db:
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            await asyncio.sleep(1.2)
        assert relay.process.poll() is None, relay.text
        assert await relay.stop() == 0
