"""`mess replay` as a user types it, beside a relay that runs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo.database import Database

from mess.demo.mongod import Mongod
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import PATIENCE, command, environment, mess, running, write
from tests.integration.history import forget_beginning
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]

either_state = pytest.mark.parametrize("config", ["mongodb", "sqlite"], indirect=True)
one_state = pytest.mark.parametrize("config", ["mongodb"], indirect=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything, unless it is told otherwise."""
    async with Receiver() as found:
        yield found


def changed(config: Path, **options: Any) -> Path:
    return write(config.parent, {**yaml.safe_load(config.read_text()), **options})


def step_of(config: Path) -> dict[str, Any]:
    """The only step of the config's pipeline."""
    [step] = yaml.safe_load(config.read_text())["pipeline"]
    return dict(step)


async def replay(config: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    done = await mess("replay", *arguments, "--config", config, folder=config.parent)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@asynccontextmanager
async def replaying(config: Path, *arguments: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """The same as a process; killed in the end, should it still run."""
    process = await asyncio.create_subprocess_exec(
        *command("replay", *arguments, "--config", config),
        cwd=config.parent,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, standard output and error."""
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def ids(receiver: Receiver) -> list[str]:
    return sorted(event.id for event in receiver.accepted)


@either_state
async def test_beside_a_running_relay(config: Path, db: Db, receiver: Receiver) -> None:
    """Said beforehand, delivered again under the same ids, summed up; and the relay goes on as before."""
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_many({"_id": number} for number in range(30))
        db.carts.insert_one({"_id": "cart"})
        await receiver.wait_for(31)
        live = ids(receiver)
        del receiver.requests[:]
        done = await replay(config, "--from", "10m")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].startswith("MongoDB's oplog reaches back to 2")
        assert lines[1].startswith("31 events from ")
        assert lines[2].split() == ["30", f"{db.name}.orders", "pipeline", "'top", "level'"]
        assert lines[3].split()[:2] == ["1", f"{db.name}.carts"]
        assert lines[4].startswith("31 of 31 events: 31 delivered, 0 dropped by steps, 0 dead-lettered, 0 skipped; ")
        assert len(lines) == 5
        assert "replaying 31 events" in done.stderr
        assert ids(receiver) == live
        assert {request.headers.get("mess-replay") for request in receiver.requests} == {"true"}
        del receiver.requests[:]
        db.orders.insert_one({"_id": "new"})
        [request] = await receiver.wait_for(1)
        assert "mess-replay" not in request.headers
        assert await relay.stop() == 0


@one_state
async def test_a_dry_run_counts_and_sends_nothing(config: Path, db: Db, receiver: Receiver) -> None:
    """What the arguments narrow it to."""
    for number in range(25):
        db[f"coll{number:02}"].insert_many({"_id": key} for key in range(number + 1))
    whole = await replay(config, "--from", "10m", "--dry-run")
    assert whole.returncode == 0
    assert "325 events from" in whole.stdout
    assert "of 5 other namespaces" in whole.stdout
    part = await replay(config, "--from", "10m", "--dry-run", "--collection", "coll2*", "--collection", "coll03")
    assert f"{sum(range(21, 26)) + 4} events from" in part.stdout
    one = await replay(config, "--from", "10m", "--dry-run", "--database", db.name, "--collection", f"{db.name}.coll00")
    assert "1 event from" in one.stdout
    none = await replay(config, "--from", "2020-01-01", "--to", "2020-01-02")
    assert none.returncode == 0, none.stderr
    assert "0 events from 2020-01-01T00:00:00Z to 2020-01-02T00:00:00Z" in none.stdout
    assert receiver.requests == []
    assert f"{db.name}-state" not in db.client.list_database_names()


@one_state
async def test_what_cannot_be_meant(config: Path, db: Db) -> None:
    """Exit code 2, and what to write instead."""
    for arguments, said in (
        ([], "--from"),
        (["--from", "yesterday"], "as an age like 30m, 2h or 7d"),
        (["--from", "2999-01-01"], "--from 2999-01-01T00:00:00Z is in the future"),
        (["--from", "1h", "--to", "2h"], "is later than --to"),
        (["--from", "1h", "--database", "shop"], f"no database 'shop'; it watches: {db.name}.*"),
        (["--from", "1h", "--step", "https"], "no pipeline has a step 'https'; there are: 'http'"),
    ):
        done = await replay(config, *arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr


@either_state
async def test_what_is_refused_is_a_dead_letter(config: Path, db: Db, receiver: Receiver) -> None:
    """Exit code 1, and the user is told where to look."""
    db.orders.insert_many({"_id": number} for number in range(5))
    receiver.respond = lambda request: Answer(422 if request.json["documentKey"]["_id"] == 3 else 200)
    done = await replay(config, "--from", "10m")
    assert done.returncode == 1, done.stderr
    assert "5 of 5 events: 4 delivered, 0 dropped by steps, 1 dead-lettered, 0 skipped" in done.stdout
    assert "mess dead-letters list" in done.stdout
    listed = await mess("dead-letters", "list", "--json", "--config", config, folder=config.parent)
    [letter] = yaml.safe_load(listed.stdout)["letters"]
    assert letter["key"] == {"_id": 3}
    receiver.respond = None
    again = await mess("dead-letters", "replay", "--all", "--config", config, folder=config.parent)
    assert again.returncode == 0, again.stdout


@one_state
async def test_a_sink_that_is_down_is_waited_for(config: Path, db: Db, receiver: Receiver) -> None:
    """And it is said why, on standard error."""
    db.orders.insert_many({"_id": number} for number in range(5))
    receiver.answer = Answer(503)
    async with replaying(config, "--from", "10m") as process:
        await receiver.wait_for(8, timeout=PATIENCE)
        assert process.returncode is None
        receiver.answer = Answer()
        code, out, err = await ended(process)
    assert code == 0, err
    assert "5 of 5 events: 5 delivered" in out
    assert "step fails, retrying" in err
    assert "503" in err


@one_state
async def test_a_refusal_that_is_to_stop_it(config: Path, db: Db, receiver: Receiver) -> None:
    receiver.answer = Answer(422)
    step = step_of(config)
    db.orders.insert_one({"_id": 1})
    done = await replay(changed(config, pipeline=[{**step, "on_failure": "stop"}]), "--from", "10m")
    assert done.returncode == 7
    assert "0 of 1 event: 0 delivered" in done.stdout
    assert "ended early: every change before " in done.stdout
    assert "on_failure: stop" in done.stderr


@one_state
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_says_where_to_go_on(config: Path, db: Db, receiver: Receiver, number: int) -> None:
    """And what it says does."""
    db.orders.insert_many({"_id": key} for key in range(60))
    path = changed(config, concurrency=1)
    receiver.answer = Answer(delay=0.2)
    async with replaying(path, "--from", "10m") as process:
        await receiver.wait_for(3, timeout=PATIENCE)
        process.send_signal(number)
        code, out, err = await ended(process)
    assert code == 1, err
    assert "interrupted: every change before " in out
    assert len(receiver.requests) < 60
    arguments = out.rstrip().rpartition("continue with ")[2].split()
    assert arguments[::2] == ["--from", "--to"]
    receiver.answer = Answer()
    done = await replay(path, *arguments)
    assert done.returncode == 0, done.stderr
    assert len(set(ids(receiver))) == 60


@one_state
async def test_a_second_signal_ends_it_at_once(config: Path, db: Db, receiver: Receiver) -> None:
    receiver.answer = Answer(hang=True)
    db.orders.insert_one({"_id": 1})
    async with replaying(config, "--from", "10m") as process:
        await receiver.wait_for(1, timeout=PATIENCE)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == 130


@one_state
async def test_history_that_is_lost(config: Path, db: Db, own_replica_set: ReplicaSet) -> None:
    """Exit code 4, with how far back the oplog reaches."""
    await asyncio.to_thread(forget_beginning, own_replica_set)
    done = await replay(config, "--from", "2h", "--url", own_replica_set.url)
    assert done.returncode == 4
    assert "no longer holds the changes from" in done.stderr
    assert "it reaches back to 2" in done.stderr


@one_state
async def test_a_server_that_has_no_oplog(config: Path) -> None:
    """Exit code 3, for a standalone server and for none."""
    with Mongod(replica_set=None) as alone:
        done = await replay(config, "--from", "2h", "--url", f"mongodb://{alone.address}/?directConnection=true")
    assert done.returncode == 3
    assert "--replSet" in done.stderr
    nobody = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100"
    assert (await replay(config, "--from", "2h", "--url", nobody)).returncode == 3


@one_state
async def test_dead_letters_that_cannot_be_kept(config: Path, db: Db, tmp_path: Path) -> None:
    """Exit code 5, before anything is sent."""
    db.orders.insert_one({"_id": 1})
    path = changed(config, state={"url": f"sqlite:///{tmp_path}/missing/state.db"})
    done = await replay(path, "--from", "10m")
    assert done.returncode == 5
    assert "does not exist" in done.stderr
    assert "delivered" not in done.stdout


@one_state
async def test_one_step_through_its_transforms(config: Path, db: Db, receiver: Receiver) -> None:
    step = step_of(config)
    shaped = {"name": "field-map", "config": {"fields": {"key": "documentKey._id"}}}
    second = {**step, "config": {"endpoint": f"{receiver.url}/second"}}
    path = changed(config, pipeline=["log", shaped, step, second])
    db.orders.insert_one({"_id": 1})
    done = await replay(path, "--from", "10m", "--step", "http 2")
    assert done.returncode == 0, done.stderr
    [request] = receiver.requests
    assert (request.path, request.json) == ("/hook/second", {"key": 1})
    assert '"event":"event"' in done.stderr  # what the log step writes stays out of the way of what the command says
