"""Text from documents and servers on a terminal: commands show it and are not commanded by it; exports are private."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import Timestamp

from mess.demo.replica_set import ReplicaSet
from mess.event import Namespace
from mess.state.records import Attempt, DeadLetter, Gap
from mess.state.sqlite import SqliteStore
from tests.acceptance.commands import mess, write

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\N{RIGHT-TO-LEFT OVERRIDE}\nforged line\r[bold]x[/bold]"
FORBIDDEN = "\x1b\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}\r\x7f"
COLLECTION = "a\x9b31m\N{RIGHT-TO-LEFT OVERRIDE}\nforged line"
NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A config whose state holds a dead letter and a gap full of control characters."""
    store = SqliteStore(tmp_path / "state.db", "mess")
    await store.open()
    await store.take_over()
    event: dict[str, Any] = {"operationType": "insert", "fullDocument": {"_id": HOSTILE, "text": HOSTILE + "\x7f"}}
    attempt = Attempt(NOW, "Refused", HOSTILE, 422, HOSTILE)
    namespace = Namespace("shop", f"orders{HOSTILE}")
    where = (f"shop{HOSTILE}", "http", namespace, "insert", HOSTILE)
    letter = DeadLetter("msg_a", *where, HOSTILE, "Refused", 1, NOW, event, event, (attempt,))
    await store.add_dead_letters([letter])
    begin = Timestamp(1_780_000_000, 1)
    await store.record_gap(Gap(f"shop{HOSTILE}", begin, begin, HOSTILE, NOW, (f"shop.{HOSTILE}",)))
    await store.close()
    options = {
        "databases": {"shop": {"collections": {COLLECTION: {}}}},
        "pipeline": ["log"],
        "state": {"url": f"sqlite:///{tmp_path}/state.db"},
    }
    return write(tmp_path, options)


@pytest.mark.parametrize(
    "arguments",
    [
        "dead-letters list",
        "dead-letters list --json",
        "dead-letters show msg_a",
        "dead-letters replay msg_a --dry-run",
        "dead-letters export",
        "gaps list",
    ],
)
async def test_control_characters_are_shown_as_escapes(config: Path, arguments: str) -> None:
    """In tables, JSON and messages alike."""
    done = await mess(*arguments.split(), "--config", config, folder=config.parent)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not [character for character in FORBIDDEN if character in said]
    assert not any(line.startswith("forged") for line in said.splitlines())
    if "dry-run" not in arguments:
        assert "[bold]x[/bold]" in said


async def test_names_of_collections_are_shown_as_escapes(config: Path, replica_set: ReplicaSet) -> None:
    """They can hold anything but NUL; what is printed to restore a position is safe to paste, too."""
    for arguments in ("set 2026-07-01T00:00:00Z", "list", "reset --all", "validate"):
        words = arguments.split() if arguments == "validate" else ["checkpoints", *arguments.split()]
        url = ["--url", replica_set.url] if arguments.startswith("set") else []
        done = await mess(*words, *url, "--config", config, folder=config.parent)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert not [character for character in FORBIDDEN if character in said]
        assert not any(line.startswith("forged") for line in said.splitlines()), arguments
        assert "forged line" in said or arguments.startswith("set")


async def test_json_still_means_the_same(config: Path) -> None:
    done = await mess("dead-letters", "show", "msg_a", "--config", config, folder=config.parent)
    assert json.loads(done.stdout)["body"]["fullDocument"]["text"] == HOSTILE + "\x7f"


async def test_errors_show_them_as_escapes(config: Path) -> None:
    done = await mess("dead-letters", "show", f"msg{HOSTILE}", "--config", config, folder=config.parent)
    assert done.returncode == 2
    assert "\\x1b[2J" in done.stderr
    assert not [character for character in FORBIDDEN if character in done.stderr]


@pytest.mark.parametrize("there", [False, True])
async def test_an_export_is_for_its_owner_alone(config: Path, there: bool) -> None:
    """Dead letters hold documents: the file is private, also where there was one that others could read."""
    path = config.parent / "letters.jsonl"
    if there:
        path.write_text("old")
        path.chmod(0o666)
    before = os.umask(0o022)
    try:
        done = await mess("dead-letters", "export", "-o", path, "--config", config, folder=config.parent)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["id"] == "msg_a"


async def test_an_export_to_a_device_leaves_it_alone(config: Path) -> None:
    before = os.stat("/dev/null").st_mode
    done = await mess("dead-letters", "export", "-o", "/dev/null", "--config", config, folder=config.parent)
    assert done.returncode == 0, done.stderr
    assert os.stat("/dev/null").st_mode == before
