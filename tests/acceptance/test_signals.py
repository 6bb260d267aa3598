"""What a hangup, and a reader of the log that goes away, do to long-running commands: nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import PATIENCE, command, environment, running, write
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything."""
    async with Receiver() as found:
        yield found


@pytest.fixture
def path(tmp_path: Path, replica_set: ReplicaSet, db: Db, receiver: Receiver) -> Path:
    """A config that sends every change of that database to the receiver."""
    options = {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": {"database": f"{db.name}-state"},
        "databases": {db.name: {}},
        "pipeline": [{"name": "http", "config": {"endpoint": receiver.url}}],
        "admin": {"port": free_port()},
    }
    return write(tmp_path, options)


async def test_a_hangup_reloads_the_config_and_the_log_says_so(path: Path, db: Db, receiver: Receiver) -> None:
    async with running(path) as relay:
        await relay.connected()
        relay.process.send_signal(signal.SIGHUP)
        await relay.until(lambda: relay.said("config reloaded"), "the log line")
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        assert await relay.stop() == 0


async def test_a_hangup_while_mongodb_is_away_ends_nothing(tmp_path: Path, path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    options = {"mongodb": {"url": f"mongodb://127.0.0.1:{free_port()}"}, "databases": {"shop": {}}, "pipeline": ["log"]}
    async with running(write(away, {**options, "admin": {"port": 0}})) as relay:
        await relay.until(lambda: relay.said("state"), "the start")
        relay.process.send_signal(signal.SIGHUP)
        await relay.until(lambda: "as soon as the relay runs" in relay.text, "the log line")
        assert await relay.stop() == 0


async def test_a_hangup_does_not_end_a_replay(path: Path, db: Db, receiver: Receiver) -> None:
    db.orders.insert_many([{"_id": number} for number in range(5)])
    receiver.answer = Answer(delay=3.0)
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        command("replay", "--from", "10m", "--config", path),
        cwd=path.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    await receiver.wait_for_events(1, PATIENCE)
    process.send_signal(signal.SIGHUP)
    out, errors = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert process.returncode == 0, out + errors
    assert "5 delivered" in out
    assert "SIGHUP ignored" in errors


@pytest.mark.parametrize("stderr_too", [False, True], ids=["stdout", "stdout and stderr"])
async def test_a_reader_of_the_log_that_goes_away_costs_nothing(
    path: Path, db: Db, receiver: Receiver, stderr_too: bool
) -> None:
    """As in `mess run | head -1`: the relay goes on, delivers, records its progress and ends in order."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        command("run", "--config", path, "--log-format", "json"),
        cwd=path.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stderr_too else subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "stream connected" not in await asyncio.to_thread(process.stdout.readline):
            pass
        process.stdout.close()
        for number in range(3):
            db.orders.insert_one({"_id": number})
        await receiver.wait_for_events(3)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        if process.stderr is not None:
            assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    async with running(path) as relay:  # nothing comes again
        await relay.connected()
        db.orders.insert_one({"_id": "last"})
        await receiver.wait_for_events(4)
        assert await relay.stop() == 0


async def test_a_reader_that_goes_away_from_a_listing(path: Path) -> None:
    """`mess validate | true` ends without a traceback."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", '"$@" | true', "sh", *command("validate", "--config", path)],
        cwd=path.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
