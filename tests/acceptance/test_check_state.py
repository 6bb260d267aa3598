"""`mess check` says what a start would do with the relay's state, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from pymongo.database import Database

from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running, write
from tests.integration.history import forget_beginning
from tests.integration.oplogs import oldest_is_founding, with_users, write_megabytes
from tests.receiver import Receiver

Db = Database[dict[str, Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything."""
    async with Receiver() as found:
        yield found


async def check(config: Path, *arguments: str, code: int = 0) -> list[str]:
    """The lines of `mess check`, which ends with `code`."""
    done = await mess("check", "--config", config, *arguments, folder=config.parent)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout.splitlines()


def about(lines: list[str], words: str) -> str:
    """The one line that holds `words`."""
    [found] = [line for line in lines if words in line]
    return found


def change(config: Path, **options: Any) -> Path:
    """The same config with other options."""
    return write(config.parent, {**options_of(config), **options})


def options_of(config: Path) -> dict[str, Any]:
    """What a config file holds."""
    found: dict[str, Any] = yaml.safe_load(config.read_text())
    return found


def contents(folder: Path) -> list[Path]:
    """The files of a folder."""
    return sorted(folder.iterdir())


async def run_once(config: Path, db: Db, receiver: Receiver) -> None:
    """Run the relay until it has delivered an event and recorded that."""
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_one({})
        await receiver.wait_for_events(1, 30)
        assert await relay.stop() == 0


async def test_before_the_first_start(tmp_path: Path, config: Path, db: Db) -> None:
    """Every stream would start as the config says. Neither a database nor a file is made by looking."""
    before = sorted(db.client.list_database_names())
    files = contents(tmp_path)
    lines = await check(config)
    assert about(lines, "has no position") == f"ok  stream {db.name} has no position: it would start from now"
    assert about(lines, "the state in").startswith("ok")
    assert sorted(db.client.list_database_names()) == before
    assert contents(tmp_path) == files


async def test_after_a_run(config: Path, db: Db, receiver: Receiver) -> None:
    """It would continue from where it stopped. Looking takes nothing over: the epoch stays as it is."""
    await run_once(config, db, receiver)
    before = await _epoch(config, db)
    for _ in range(2):
        lines = await check(config)
        assert about(lines, "would continue from").startswith(f"ok  stream {db.name} would continue from 2")
        assert not [line for line in lines if line.startswith("!!")], lines
    assert await _epoch(config, db) == before


async def _epoch(config: Path, db: Db) -> Any:
    options = options_of(config)
    if "url" in options["state"]:
        with sqlite3.connect(options["state"]["url"].removeprefix("sqlite:///")) as file:
            return file.execute("SELECT epoch FROM relays").fetchall()
    return list(db.client[f"{db.name}-state"].relays.find({}, {"generation": 1, "epoch": 1}))


def of_standby(config: Path) -> Path:
    """The same config with `ha`, in a folder of its own."""
    folder = config.parent / "standby"
    folder.mkdir()
    return write(folder, {**yaml.safe_load(config.read_text()), "ha": {}})


async def test_beside_a_running_relay(config: Path, db: Db, receiver: Receiver) -> None:
    """It says which process runs, and does not disturb it."""
    async with running(config) as relay:
        await relay.connected()
        line = about(await check(config), "is running")
        assert line.startswith(f"!!  the relay {db.name!r} is running: process {relay.process.pid} on host ")
        assert line.endswith("`mess run` would wait for it to stop")
        line = about(await check(of_standby(config)), "is running")
        assert line.startswith("ok  ")
        assert line.endswith("`mess run` would be its standby")
        db.orders.insert_one({})
        await receiver.wait_for_events(1, 30)
        assert await relay.stop() == 0


async def test_a_position_that_is_no_longer_in_the_oplog(tmp_path: Path, receiver: Receiver) -> None:
    """Exit code 4 and the command that lets the stream continue; with `on_history_lost: now` a warning."""
    with ReplicaSet(1) as forgetful:
        await asyncio.to_thread(forget_beginning, forgetful)
        options = {
            "name": "check",
            "mongodb": {"url": forgetful.url},
            "databases": {"shop": {}},
            "pipeline": [{"name": "http", "config": {"endpoint": receiver.url}}],
            "admin": {"port": 0},
        }
        config = write(tmp_path, options)
        with MongoClient[dict[str, Any]](forgetful.url) as client:
            await run_once(config, client["shop"], receiver)
        moved = await mess("checkpoints", "set", "2001-01-01T00:00:00", "--config", config, folder=tmp_path)
        assert moved.returncode == 0, moved.stderr
        lines = await check(config, code=4)
        line = about(lines, "is no longer in the oplog")
        assert line.startswith("no  stream shop: its position, 2001-01-01 00:00:00 UTC")
        assert about(lines, "mess checkpoints reset --stream").strip().startswith("to continue from now: ")
        lines = await check(change(config, on_history_lost="now"))
        assert about(lines, "a start records a gap").startswith("!!  stream shop")
        lines = await check(change(config, on_history_lost="backfill"))
        assert "on_history_lost: backfill" in about(lines, "sends the documents again")
        reset = await mess("checkpoints", "reset", "--stream", "shop", "--config", config, folder=tmp_path)
        assert reset.returncode == 0, reset.stderr
        await check(config)


async def test_a_position_that_is_gone_for_a_user_who_may_not_read_the_oplog(
    tmp_path: Path, receiver: Receiver
) -> None:
    """MongoDB itself is asked whether it reads on from there."""
    with with_users(tmp_path) as (node, url), MongoClient[dict[str, Any]](url) as client:
        client.shop.command("createUser", "poor", pwd="secret", roles=["readWrite"])
        options = {
            "name": "check",
            "mongodb": {"url": f"mongodb://poor:secret@{node.address}/?replicaSet=rs0&authSource=shop"},
            "state": {"url": f"sqlite:///{tmp_path}/state.db"},
            "databases": {"shop": {}},
            "pipeline": [{"name": "http", "config": {"endpoint": receiver.url}}],
            "admin": {"port": 0},
        }
        config = write(tmp_path, options)
        await run_once(config, client["shop"], receiver)
        assert about(await check(config), "would continue from").startswith("ok")
        for _ in range(10):
            await asyncio.to_thread(write_megabytes, client, 12)
            await asyncio.sleep(1)
            if not oldest_is_founding(client):
                break
        lines = await check(config, code=4)
        assert about(lines, "is no longer in the oplog").startswith("no  stream shop")


async def test_a_damaged_position(config: Path, db: Db, receiver: Receiver) -> None:
    """Exit code 5, the record, and what to do."""
    await run_once(config, db, receiver)
    options = options_of(config)
    if "url" in options["state"]:
        with sqlite3.connect(options["state"]["url"].removeprefix("sqlite:///")) as file:
            file.execute("UPDATE coverage SET rules = '{'")
    else:
        record = {"_id": db.name}
        db.client[f"{db.name}-state"].checkpoints.update_one(record, {"$set": {"coverage": "nonsense"}})
    line = about(await check(config, code=5), "is damaged")
    assert line.startswith("no  ")
    assert "mess checkpoints reset --all" in line


async def test_the_record_of_the_relay_is_older_than_its_positions(config: Path, db: Db, receiver: Receiver) -> None:
    """As after a backup was restored; a start would continue, and says so as well."""
    await run_once(config, db, receiver)
    options = options_of(config)
    if "url" in options["state"]:
        with sqlite3.connect(options["state"]["url"].removeprefix("sqlite:///")) as file:
            file.execute("DELETE FROM relays")
    else:
        db.client[f"{db.name}-state"].relays.delete_many({})
    assert about(await check(config), "is older than its positions").startswith("!!  the record of the relay")


async def test_a_state_file_of_a_newer_mess(tmp_path: Path, config: Path, db: Db) -> None:
    path = tmp_path / "newer.db"
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    changed = change(config, state={"url": f"sqlite:///{path}"})
    assert "was written by a newer MESS (schema 99)" in about(await check(changed, code=5), str(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing/state.db", "does not exist; create it"), ("text.db", "make sure that it is the relay's file")],
)
async def test_a_state_file_that_cannot_be_used(tmp_path: Path, config: Path, db: Db, name: str, words: str) -> None:
    (tmp_path / "text.db").write_text("this is no database, though it is long enough to be taken for one" * 20)
    changed = change(config, state={"url": f"sqlite:///{tmp_path / name}"})
    lines = await check(changed, code=5)
    assert about(lines, words).startswith("no  state.url: ")
    assert not (tmp_path / "missing").exists()


async def test_a_state_that_may_not_be_written(tmp_path: Path, receiver: Receiver) -> None:
    """Exit code 3, and the role to grant."""
    with with_users(tmp_path) as (node, url), MongoClient[dict[str, Any]](url) as client:
        client.shop.command("createUser", "poor", pwd="secret", roles=["read"])
        options = {
            "mongodb": {"url": f"mongodb://poor:secret@{node.address}/?replicaSet=rs0&authSource=shop"},
            "databases": {"shop": {}},
            "pipeline": ["log"],
        }
        lines = await check(write(tmp_path, options), code=3)
        line = about(lines, "cannot write state")
        assert line.startswith("no  ")
        assert "readWrite" in line

        lines = await check(write(tmp_path, {**options, "databases": {"other": {}}}), code=3)
        assert about(lines, 'createRole"')
        assert about(lines, "updateRole")  # the role may be there from an earlier attempt

        nobody = {**options, "mongodb": {"url": f"mongodb://{node.address}/?replicaSet=rs0"}}
        lines = await check(write(tmp_path, nobody), code=3)
        assert "names no user" in about(lines, "cannot write state")
        assert "mongodb.url names no user" in about(lines, "stream ")
        assert not [line for line in lines if "createRole" in line or "readWrite" in line], lines


async def test_a_user_who_may_not_list_collections(tmp_path: Path, receiver: Receiver) -> None:
    """The relay needs it only for backfills, without which nothing is said."""
    with with_users(tmp_path) as (node, url), MongoClient[dict[str, Any]](url) as client:
        privileges = [{"resource": {"db": "shop", "collection": ""}, "actions": ["changeStream", "find"]}]
        client.shop.command("createRole", "watch", privileges=privileges, roles=[])
        client.shop.command("createUser", "poor", pwd="secret", roles=["watch"])
        options = {
            "mongodb": {"url": f"mongodb://poor:secret@{node.address}/?replicaSet=rs0&authSource=shop"},
            "state": {"url": f"sqlite:///{tmp_path}/state.db"},
            "databases": {"shop": {}},
            "pipeline": ["log"],
        }
        await check(write(tmp_path, options))
        for option in ({"backfill": "initial"}, {"on_history_lost": "backfill"}):
            config = write(tmp_path, {**options, **option})
            lines = await check(config, code=3)
            assert about(lines, "cannot list the collections").startswith("no  ")
            assert about(lines, "listCollections")
        done = await mess("backfill", "start", "shop.orders", "--config", config, folder=tmp_path)
        assert done.returncode == 3
        assert "listCollections" in done.stderr


async def test_a_young_oplog_is_no_short_one(tmp_path: Path, own_replica_set: ReplicaSet) -> None:
    options = {"mongodb": {"url": own_replica_set.url}, "databases": {"shop": {}}, "pipeline": ["log"]}
    line = about(await check(write(tmp_path, options)), "oplog")
    assert line.startswith("ok  the oplog is young: it reaches back to the founding of the replica set")


async def test_a_state_file_is_free_while_endpoints_are_tried(
    tmp_path: Path, config: Path, db: Db, receiver: Receiver
) -> None:
    """A silent endpoint keeps `check` waiting for ten seconds; a relay may store its progress meanwhile."""
    path = tmp_path / "shared.db"
    await run_once(change(config, state={"url": f"sqlite:///{path}"}), db, receiver)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}"
        options = {
            "pipeline": [{"name": "http", "config": {"endpoint": endpoint}}],
            "state": {"url": f"sqlite:///{path}"},
        }
        looking = asyncio.create_task(check(change(config, **options), code=8))
        longest, since = 0.0, time.monotonic()
        while not looking.done():
            with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as file:
                with contextlib.suppress(sqlite3.OperationalError):
                    file.execute("BEGIN IMMEDIATE")
                    since = time.monotonic()
                longest = max(longest, time.monotonic() - since)
            await asyncio.sleep(0.05)
        assert about(await looking, "would continue from").startswith("ok")
    assert longest < 5.0
