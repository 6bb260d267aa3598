"""`mess record` as a user types it: what it writes, `mess test` passes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import Int64
from pymongo.database import Database

from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import PATIENCE, command, environment, mess, running, write
from tests.integration.history import forget_beginning
from tests.receiver import Receiver

Db = Database[dict[str, Any]]

PRIVATE = "ada@example.org"
FIELDS = {"order": "documentKey._id", "total": "fullDocument.total", "mail": "fullDocument.email"}
CUSTOMER: dict[str, Any] = {"email": PRIVATE, "name": {"first": "Ada"}, "mails": [{"to": PRIVATE, "n": 1}]}


@pytest.fixture
def config(tmp_path: Path, replica_set: ReplicaSet, db: Db) -> Path:
    """A config with a pipeline of its own for one collection."""
    http = {"name": "http", "config": {"endpoint": "http://127.0.0.1:1/{db}"}}
    orders = {"pipeline": [{"name": "field-map", "config": {"fields": {"total": "fullDocument.total"}}}, http]}
    return write(
        tmp_path,
        {
            "name": db.name,
            "mongodb": {"url": replica_set.url},
            "state": {"database": f"{db.name}-state"},
            "databases": {db.name: {"collections": {"orders": orders, "*": {}}}},
            "pipeline": [http],
        },
    )


def cases(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted(folder.rglob("*"))}


def events(folder: Path) -> list[dict[str, Any]]:
    return [event for case in cases(folder).values() for event in case["events"]]


async def passes(config: Path, count: int) -> None:
    done = await mess("test", "--config", config, folder=config.parent)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{count} passed"), done.stdout + done.stderr


@asynccontextmanager
async def recording(config: Path, *arguments: Any) -> AsyncIterator[subprocess.Popen[str]]:
    """`mess record`, which waits for changes."""
    process = _start(config, arguments)
    assert process.stderr is not None
    try:
        assert "waiting for changes in" in await asyncio.to_thread(process.stderr.readline)
        yield process
    finally:
        process.kill()
        process.wait()


def _start(config: Path, arguments: Iterable[Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("record", "--config", config, *arguments),
        cwd=config.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def change(config: Path, **options: Any) -> None:
    """Set other options in a config file."""
    write(config.parent, {**yaml.safe_load(config.read_text()), **options})


async def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    return await asyncio.to_thread(process.communicate, timeout=PATIENCE)


async def test_changes_become_cases_that_pass(config: Path, db: Db) -> None:
    """Of every operation and of both pipelines, with the types that they had."""
    db.before.insert_one({"_id": 0})
    async with recording(config, "--count", 5) as process:
        db.orders.insert_one({"_id": 1, "total": Int64(5), "price": 5.0, "mail": PRIVATE})
        db.orders.update_one({"_id": 1}, {"$set": {"total": 6}})
        db.others.insert_one({"_id": 2, "at": None, "list": [1, {"x": [2]}]})
        db.others.delete_one({"_id": 2})
        db.others.drop()
        out, err = await ended(process)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "5 recorded"
    assert "warning: the cases hold real values of these fields: fullDocument._id, fullDocument.at," in err
    folder = config.parent / "tests"
    assert sorted(event["operationType"] for event in events(folder)) == [
        "delete",
        "drop",
        "insert",
        "insert",
        "update",
    ]
    assert not [event for event in events(folder) if "_id" in event]
    [order] = [
        event for event in events(folder) if event["operationType"] == "insert" and "price" in event["fullDocument"]
    ]
    assert order["fullDocument"]["total"] == {"$numberLong": "5"}
    assert type(order["fullDocument"]["price"]) is float
    [name] = [name for name in cases(folder) if ".orders-update-" in name]
    assert cases(folder)[name]["expect"][0]["sent"]["http"]["body"] == {"total": 6}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    await passes(config, 5)


async def test_a_dropped_field_is_nowhere(config: Path, db: Db) -> None:
    """Neither its name nor its value: in the document, before the change, in an update's description, in a key, in a
    body."""
    db.create_collection("people", changeStreamPreAndPostImages={"enabled": True})
    change(config, full_document_before_change="when_available")
    arguments = ("--drop", "fullDocument.email", "--drop", "fullDocument.mails.to", "--drop", "fullDocument.typo")
    async with recording(config, "--count", 6, *arguments) as process:
        db.people.insert_one({"_id": 1, **CUSTOMER})
        db.people.update_one({"_id": 1}, {"$set": {"email": PRIVATE + ".uk", "name.first": "Eda"}})
        db.people.update_one({"_id": 1}, {"$set": {"mails.0.to": PRIVATE, "mails.0.n": 2}})
        db.people.update_one({"_id": 1}, {"$unset": {"email": 1}, "$set": {"mails.1": {"to": PRIVATE}}})
        db.people.replace_one({"_id": 1}, CUSTOMER)
        db.people.delete_one({"_id": 1})
        _, err = await ended(process)
    assert process.returncode == 0, err
    folder = config.parent / "tests"
    for path in folder.iterdir():
        assert not re.search(r"example\.org|email|\bto:|mails\.\d\.to", path.read_text()), path.read_text()
    [step] = [
        event for event in events(folder) if "mails.0.n" in event.get("updateDescription", {}).get("updatedFields", {})
    ]
    assert step["updateDescription"]["updatedFields"] == {"mails.0.n": 2}
    assert step["fullDocumentBeforeChange"]["mails"] == [{"n": 1}]
    assert "--drop fullDocument.typo: no recorded event has it" in err
    assert "fullDocument.name.first" in err
    assert "fullDocument.email" not in err
    await passes(config, 6)


async def test_the_past_and_what_exists(config: Path, db: Db) -> None:
    """`--since` ends by itself; the same event has the same file, which is not written twice."""
    db.orders.insert_many([{"_id": number, "total": number} for number in range(3)])
    db.others.insert_one({"_id": 1})
    to = config.parent / "cases" / "new"
    arguments = ("record", "--config", config, "--since", "5m", "--collection", f"{db.name}.orders", "--to", to)
    done = await mess(*arguments, "--count", 2, folder=config.parent)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 recorded"), done.stderr
    first, second = to.iterdir()
    first.write_text("mine")

    done = await mess(*arguments, "--count", 1, folder=config.parent)
    assert done.stdout.splitlines()[-1] == "1 recorded, 2 left as they were"
    assert first.read_text() == "mine"
    assert len(list(to.iterdir())) == 3
    assert f"exists   {first}" in done.stdout

    done = await mess(*arguments, folder=config.parent)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "3 left as they were")
    assert "total" in second.read_text()


async def test_names_that_are_no_file_names(config: Path, db: Db) -> None:
    db.command("insert", "/../a b;`x`\x1b[31m", documents=[{"_id": 1}])
    done = await mess("record", "--config", config, "--since", "5m", folder=config.parent)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    [path] = (config.parent / "tests").iterdir()
    assert re.fullmatch(r"test-[a-z0-9]+\._\.\._a_b_x_31m-insert-[a-z0-9]{8}\.yml", path.name)
    await passes(config, 1)


async def test_a_pipeline_and_a_signal(config: Path, db: Db) -> None:
    """What was recorded until Ctrl-C stays."""
    async with recording(config, "--pipeline", f"{db.name}.orders") as process:
        db.others.insert_one({"_id": 1})
        db.orders.insert_one({"_id": 1, "total": 1})
        assert process.stdout is not None
        assert "recorded" in await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGINT)
        out, err = await ended(process)
    assert (process.returncode, out) == (0, "1 recorded\n"), err
    [event] = events(config.parent / "tests")
    assert event["ns"]["coll"] == "orders"


async def test_beside_a_relay_and_from_its_dead_letters(config: Path, db: Db, receiver: Receiver) -> None:
    """The relay goes on, nothing is delivered again, and letters keep their ids, and how they got their documents."""
    change(config, databases={db.name: {}}, pipeline=[{"name": "http", "config": {"endpoint": receiver.url}}])
    arguments = ("record", "--config", config, "--drop", "fullDocument.email", "--count", 2)
    async with running(config) as relay:
        await relay.connected()
        db.people.insert_many([{"_id": number, **CUSTOMER} for number in range(3)])
        db.people.update_one({"_id": 1}, {"$set": {"email": "x"}})
        await relay.until(lambda: len(receiver.requests) >= 4, "4 refusals")
        done = await mess(*arguments, "--since", "1m", "--to", "changes", folder=config.parent)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 recorded"), done.stderr
        assert await relay.stop() == 0
    done = await mess(*arguments, "--from-dead-letters", folder=config.parent)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 recorded"), done.stderr
    assert len(receiver.requests) == 4
    letters = events(config.parent / "tests")
    assert {letter["document"] for letter in letters} == {"exact", "lookup"}
    assert {letter["id"] for letter in letters} < {request.headers["webhook-id"] for request in receiver.requests}
    assert not [path for path in (config.parent / "tests").iterdir() if "email" in path.read_text()]
    await passes(config, 2)


async def test_mistakes_are_reported_before_anything_is_read(config: Path) -> None:
    for arguments, message in (
        (
            ["--drop", "email"],
            '--drop: a change event has no field "email"; a field of the document is fullDocument.ema',
        ),
        (["--pipeline", "shop.order"], "the config has no pipeline 'shop.order'"),
        (["--since", "2999-01-01"], "--since is in the future"),
    ):
        done = await mess("record", "--config", config, *arguments, folder=config.parent)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
    assert not (config.parent / "tests").exists()


async def test_an_oplog_that_does_not_reach_back_that_far(config: Path, own_replica_set: ReplicaSet) -> None:
    forget_beginning(own_replica_set)
    since = ("--since", "2020-01-01", "--url", own_replica_set.url)
    done = await mess("record", "--config", config, *since, folder=config.parent)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "MongoDB's oplog no longer holds all changes since 2020-01-01T00:00:00Z; begin later\n"


async def test_as_json(config: Path, db: Db) -> None:
    db.orders.insert_one({"_id": 1, "total": 5})
    done = await mess("record", "--config", config, "--since", "5m", "--json", folder=config.parent)
    found = json.loads(done.stdout)
    [path] = (config.parent / "tests").iterdir()
    assert found == {
        "cases": [{"case": str(path), "result": "recorded", "reason": None}],
        "fields": ["fullDocument._id", "fullDocument.total"],
    }


async def test_without_events_there_is_nothing(config: Path) -> None:
    done = await mess("record", "--config", config, "--for", "200ms", folder=config.parent)
    assert (done.returncode, done.stdout) == (1, "no event came\n")
