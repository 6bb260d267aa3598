"""`mess demo` as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet

_COMMAND = [sys.executable, "-m", "mess", "demo", "--rate", "40"]


@contextmanager
def _demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    # Settings that a user has for a relay of their own must not lead the demo astray.
    environment = {**os.environ, "TMPDIR": str(folder), "MONGODB_URL": "mongodb://127.0.0.1:1", "PORT": "1"}
    with subprocess.Popen(
        [*_COMMAND, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _check(text: str) -> None:
    written = re.search(r"events written +(\d+)", text)
    assert written is not None, text
    assert int(written[1]) > 10, text
    assert re.search(r"existing documents +320, 320 received", text), text
    assert re.search(r"lost +0 *\n", text), text
    assert re.search(r"p50 \d+ ms, p99 \d+ ms", text), text
    assert "Traceback" not in text


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_runs_by_itself_and_leaves_nothing(folder: Path, replica_set: ReplicaSet) -> None:
    """With --seconds it ends in order; every event is shown; no file is left."""
    with _demo(folder, "--seconds", "2") as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    _check(text)
    console, page = text.split()[1], text.split("Request bin")[1].split()[0]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/app", console), text
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/bin", page), text
    assert text.index(page) < text.index("mongodb")
    assert re.search(r"insert +test-db\.orders \d+ .*msg_", text), text
    assert not list(folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "terminal closed"])
def test_stops_at_ctrl_c(folder: Path, replica_set: ReplicaSet, number: signal.Signals) -> None:
    """The signal reaches every process of the terminal's group; the summary still comes, and it ends in order."""
    with _demo(folder) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.count("msg_") and len(lines) > 40:
                break
        os.killpg(process.pid, number)
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 0, text
    _check("".join(lines) + text)
    assert not list(folder.iterdir())


def test_keeps_to_itself_in_the_users_deployment(
    folder: Path, replica_set: ReplicaSet, mongo: MongoClient[dict[str, Any]]
) -> None:
    """With --url it writes to a database of its own and drops it; no state is left there either."""
    before = set(mongo.list_database_names())
    with _demo(folder, "--seconds", "1", "--url", replica_set.url) as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    _check(text)
    assert set(mongo.list_database_names()) == before
    assert not list(folder.iterdir())
