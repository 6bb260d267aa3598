"""A state file that is deleted or replaced while a relay uses it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.acceptance.commands import mess, running, write

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
