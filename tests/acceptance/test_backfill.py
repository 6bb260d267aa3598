"""`mess backfill` as a user types it. No relay runs here unless a test starts one: progress is stored as one would."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import bson
import pytest
import yaml
from bson import ObjectId
from pymongo.database import Database

from mess.config.load import load
from mess.event import Namespace
from mess.state import Backfill, BackfillProgress, StateStore
from mess.stores import store_for
from tests.acceptance.commands import command, environment, mess, running, write
from tests.waiting import until

Db = Database[dict[str, Any]]
NOW = datetime.now(timezone.utc).replace(microsecond=0)
RUNNING = BackfillProgress(
    "running",
    last=bson.encode({"_id": ObjectId("65f0c0ffee65f0c0ffee65f0")}),
    documents=1500,
    estimated=6000,
    started=NOW - timedelta(seconds=100),
    updated=NOW,
)

mongodb_only = pytest.mark.parametrize("config", ["mongodb"], indirect=True)


def change(config: Path, **options: Any) -> Path:
    return write(config.parent, {**yaml.safe_load(config.read_text()), **options})


async def backfill(config: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    done = await mess("backfill", *arguments, "--config", config, folder=config.parent)
    assert "Traceback" not in done.stderr, done.stderr
    return done


async def refused(config: Path, *arguments: Any) -> str:
    """What `start` says about a mistake; nothing is stored then."""
    done = await backfill(config, "start", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert await listed(config) == []
    return done.stderr


async def listed(config: Path) -> list[dict[str, Any]]:
    done = await backfill(config, "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@asynccontextmanager
async def opened(config: Path) -> AsyncIterator[StateStore]:
    """The relay's state."""
    async with store_for(load(config).config) as store:
        yield store


async def progressed(config: Path, progress: Mapping[str, BackfillProgress]) -> None:
    """Store progress, as the relay does."""
    async with opened(config) as store:
        await store.take_over()
        await store.arrange([], [])
        await store.save([], progress)


async def added(config: Path, *records: Backfill) -> None:
    async with opened(config) as store:
        for each in records:
            assert await store.add_backfill(each)


def record(db: Db, id: str = "bf_aaaaaaaaaaaa", **changed: Any) -> Backfill:  # noqa: A002
    return replace(Backfill(id, Namespace(db.name, "orders"), "operator", NOW, progress=RUNNING), **changed)


def orders(db: Db, count: int = 3) -> None:
    db.orders.insert_many([{"_id": number, "total": number} for number in range(count)])


async def test_start_says_what_is_sent_and_when(config: Path, db: Db) -> None:
    """One backfill for each collection, with its options; without a relay, that it begins when one runs."""
    orders(db, 1200)
    db.customers.insert_one({"_id": 1})
    db.create_collection("by_day", viewOn="orders", pipeline=[])
    match = '{"fullDocument.total": {"$gte": {"$numberLong": "5"}}}'
    done = await backfill(config, "start", f"{db.name}.*", "--match", match, "--step", "http", "--rate", 50)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^bf_[a-z0-9]{{12}}: {db.name}\.orders, about 1,200 documents$", done.stdout, re.MULTILINE)
    assert re.search(rf"^bf_[a-z0-9]{{12}}: {db.name}\.customers, about 1 document$", done.stdout, re.MULTILINE)
    assert f"no relay {db.name!r} runs at present; this begins when it does" in done.stdout
    assert f"left out: {db.name}.by_day is a view" in done.stderr
    found = await listed(config)
    assert [each["namespace"] for each in found] == [f"{db.name}.customers", f"{db.name}.orders"]
    expected = {"origin": "operator", "step": "http", "pipeline": None, "rate": 50.0, "wanted": "running"}
    for each in found:
        assert each.items() >= {**expected, "state": "waiting", "documents": 0, "last": None}.items()
        assert each["match"] == json.loads(match)
        assert each["id"] in done.stdout


async def test_a_dry_run_stores_nothing(config: Path, db: Db) -> None:
    """It says how much there is, and how long that takes with a rate."""
    orders(db, 1200)
    done = await backfill(config, "start", f"{db.name}.orders", "--rate", 5, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"{db.name}.orders: about 1,200 documents" in done.stdout
    assert "about 1,200 documents take at least 4 min with --rate 5" in done.stdout
    done = await backfill(config, "start", f"{db.name}.orders", "--match", "{}", "--dry-run")
    assert "depends on how fast the sinks are" in done.stdout
    assert "before --match" in done.stdout
    assert await listed(config) == []


@mongodb_only
async def test_the_time_of_a_dry_run_is_that_of_the_longest_stream(config: Path, db: Db) -> None:
    """Streams send at the same time, and the rate is for each collection."""
    orders(db, 600)
    db.customers.insert_many([{"_id": n} for n in range(600)])
    collections: dict[str, Any] = {"orders": {}, "customers": {"exclude": ["password"]}}
    two = change(config, databases={db.name: {"collections": collections}})
    done = await backfill(two, "start", f"{db.name}.*", "--rate", 5, "--dry-run")
    assert "about 1,200 documents take at least 2 min with --rate 5" in done.stdout


@mongodb_only
async def test_what_cannot_be_sent_is_refused_with_the_remedy(config: Path, db: Db) -> None:
    """A misspelt name, one that is not watched, a view, a step or a query that there is not."""
    orders(db)
    db.create_collection("by_day", viewOn="orders", pipeline=[])
    db.create_collection("log", capped=True, size=4096)
    name = f"{db.name}.orders"
    assert f'watches no existing collection {db.name}.ordesr; did you mean "{name}"?' in await refused(
        config, f"{db.name}.ordesr"
    )
    assert f"does not watch other.orders; it watches: {db.name}.*" in await refused(config, "other.orders")
    assert "'orders' is not DATABASE.COLLECTION" in await refused(config, "orders")
    assert r"orders\udcff' is not DATABASE.COLLECTION" in await refused(config, f"{name}\udcff")
    assert "no existing collection that matches" in await refused(config, f"{db.name}.x*")
    assert "is a view, which cannot be watched" in await refused(config, f"{db.name}.by_day", name)
    assert "is capped: snapshot reads are refused" in await refused(config, f"{db.name}.log")
    assert "no pipeline has a step 'htp'; there are: 'http'" in await refused(config, name, "--step", "htp")
    assert "no pipeline 'shop'; there are: 'top level'" in await refused(config, name, "--pipeline", "shop")
    assert "--match is not JSON" in await refused(config, name, "--match", "{total: 5}")
    for depth in (65, 500, 2000):
        deep = '{"a": ' * depth + "1" + "}" * depth
        assert "--match is nested more than 64 levels deep" in await refused(config, name, "--match", deep)
    assert "--match must be a query" in await refused(config, name, "--match", "[]")
    assert "$date here is not Extended JSON" in await refused(config, name, "--match", '{"a": {"$date": "soon"}}')
    assert "$greater" in await refused(config, name, "--match", '{"fullDocument.a": {"$greater": 5}}')
    assert "--rate must be a number" in await refused(config, name, "--rate", "inf")
    done = await backfill(config, "start", name, "--rate", 0)
    assert done.returncode == 2


@mongodb_only
async def test_operations_have_to_include_existing_documents(config: Path, db: Db) -> None:
    """Otherwise the relay would read them and drop every one."""
    orders(db)
    change(config, operations=["insert", "update"])
    said = await refused(config, f"{db.name}.orders")
    assert f"{db.name}.orders: its `operations` leave out existing documents" in said
    assert "operations: [read, insert, update]" in said
    change(config, operations=["read", "insert", "update"])
    assert (await backfill(config, "start", f"{db.name}.orders")).returncode == 0


@mongodb_only
async def test_steps_and_pipelines_of_other_collections_are_refused(config: Path, db: Db) -> None:
    orders(db)
    db.customers.insert_one({"_id": 1})
    change(config, databases={db.name: {"collections": {"orders": {"pipeline": ["log"]}, "*": {}}}})
    own = f"{db.name}.orders"
    assert f"its pipeline {own!r} has no step 'http'; there are: 'log'" in await refused(config, own, "--step", "http")
    said = await refused(config, f"{db.name}.*", "--pipeline", "top level")
    assert f"{own}: its pipeline is {own!r}, not 'top level'" in said
    done = await backfill(config, "start", f"{db.name}.customers", "--step", "http", "--pipeline", "top level")
    assert done.returncode == 0, done.stderr


async def test_the_same_documents_are_not_sent_twice_at_once(config: Path, db: Db) -> None:
    """With the id of the one that is active; to another step, or when that has ended, they are."""
    orders(db)
    first = await backfill(config, "start", f"{db.name}.orders")
    id_ = first.stdout.partition(":")[0]
    again = await backfill(config, "start", f"{db.name}.orders", "--rate", 5)
    assert again.returncode == 2
    assert f"is being sent already, by {id_}; `mess backfill cancel {id_}" in again.stderr
    assert (await backfill(config, "start", f"{db.name}.orders", "--step", "http")).returncode == 0
    assert (await backfill(config, "cancel", id_)).returncode == 0
    assert (await backfill(config, "start", f"{db.name}.orders")).returncode == 0


async def test_list_and_show(config: Path, db: Db) -> None:
    """How far it is, how fast, how long it takes, and why it does not go on."""
    empty = await backfill(config, "list")
    assert empty.returncode == 0
    begun = replace(RUNNING, started=datetime.now(timezone.utc) - timedelta(seconds=100))
    failed = BackfillProgress("failed", "the collection was dropped", documents=3, started=NOW, ended=NOW)
    await added(
        config,
        record(db, match='{"fullDocument.total": {"$gt": 1}}', progress=begun),
        record(db, "bf_bbbbbbbbbbbb", created=NOW + timedelta(seconds=1), progress=failed, rate=0.5),
        record(db, "bf_cccccccccccc", created=NOW + timedelta(seconds=2), wanted="paused"),
    )
    listing = await backfill(config, "list")
    assert f"no relay {db.name!r} runs at present" in listing.stderr
    table = listing.stdout
    first, second, third = (line for line in table.splitlines() if "bf_" in line)
    assert "1,500 of about 6,000 (25%)" in first
    rate = re.search(r" ([\d.]+)/s", first)
    assert rate is not None
    assert 5 < float(rate[1]) <= 15, "documents since the start"
    assert re.search(r"\d+ min", first), "the other 4,500 at that rate"
    assert "the collection was dropped" in second
    assert "running, pausing" in third
    shown = (await backfill(config, "show", "bf_aaaaaaaaaaaa")).stdout
    for text in ('match: *{"fullDocument.total": {"$gt": 1}}', "last _id: *65f0c0ffee65f0c0ffee65f0"):
        assert re.search(text.replace("{", r"\{").replace("$", r"\$").replace(".", r"\."), shown), shown
    [whole] = json.loads((await backfill(config, "show", "bf_aaaaaaaaaaaa", "--json")).stdout)
    assert whole["last"] == "65f0c0ffee65f0c0ffee65f0"
    assert (whole["state"], whole["documents"], whole["estimated"], whole["reason"]) == ("running", 1500, 6000, None)
    assert [each["id"][-1] for each in await listed(config)] == ["a", "b", "c"]
    missing = await backfill(config, "show", "bf_none")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no backfill bf_none; `mess backfill list" in missing.stderr
    for wish in ("pause", "resume", "cancel"):  # no text at all, as a terminal with another encoding sends
        unknown = await backfill(config, wish, "bf_\udcff")
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert r"no backfill bf_\udcff; `mess backfill list" in unknown.stderr


async def test_pause_resume_and_cancel(config: Path, db: Db) -> None:
    """They store the wish; what has ended stays so, except what failed."""
    await added(config, record(db))
    id_ = record(db).id
    for subcommand, wanted, effect in [
        ("pause", "paused", "pauses"),
        ("resume", "running", "continues"),
        ("cancel", "cancelled", "ends"),
    ]:
        done = await backfill(config, subcommand, id_)
        assert done.returncode == 0, done.stderr
        assert f"{id_} ({db.name}.orders) {effect} as soon as the relay {db.name!r} runs" in done.stdout
        assert [each["wanted"] for each in await listed(config)] == [wanted]
        assert (await backfill(config, subcommand, "bf_none")).returncode == 2
    await progressed(config, {id_: replace(RUNNING, state="failed", reason="why", ended=NOW)})
    done = await backfill(config, "pause", id_)
    assert done.returncode == 2
    assert f"{id_} has ended: failed. `mess backfill resume {id_}" in done.stderr
    assert (await backfill(config, "resume", id_)).returncode == 0
    [found] = await listed(config)
    assert (found["state"], found["wanted"], found["reason"]) == ("waiting", "running", None)
    assert found["last"] == "65f0c0ffee65f0c0ffee65f0"
    await progressed(config, {id_: replace(RUNNING, state="done", ended=NOW)})
    done = await backfill(config, "resume", id_)
    assert done.returncode == 2
    assert f"has ended: done. `mess backfill start {db.name}.orders --config" in done.stderr


def start(config: Path, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("backfill", "start", *arguments, "--config", config),
        env=environment(),
        cwd=config.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stderr_of(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stderr is not None
    return process.stderr


@asynccontextmanager
async def waiting(config: Path, db: Db) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """`start --wait`, and the id of its backfill."""
    process = start(config, f"{db.name}.orders", "--wait")
    try:
        while not (line := await asyncio.to_thread(stderr_of(process).readline)).startswith("sending the documents"):
            assert line, "it ended"
        [found] = await listed(config)
        yield process, found["id"]
    finally:
        process.kill()
        process.wait()


async def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("cancelled", 1)])
async def test_wait_ends_with_the_backfill(config: Path, db: Db, state: str, code: int) -> None:
    """Its exit code says whether all was sent."""
    orders(db)
    async with waiting(config, db) as (process, id_):
        await progressed(config, {id_: replace(RUNNING, reason="for a reason")})
        await asyncio.sleep(1.5)
        assert process.poll() is None
        await progressed(config, {id_: replace(RUNNING, state=state, ended=NOW)})
        returncode, out, err = await ended(process)
    assert returncode == code
    assert f"{id_}: {state}, 1,500 documents sent" in out
    assert f"{id_}: running: for a reason" in err


@mongodb_only
async def test_ctrl_c_ends_only_the_waiting(config: Path, db: Db) -> None:
    orders(db)
    async with waiting(config, db) as (process, _):
        process.send_signal(signal.SIGINT)
        returncode, out, _ = await ended(process)
    assert returncode == 1
    assert "stopped waiting; the relay continues to send" in out
    assert [(each["state"], each["wanted"]) for each in await listed(config)] == [("waiting", "running")]


async def test_beside_a_running_relay(config: Path, db: Db) -> None:
    """Every command works, and disturbs nothing; there it is not said that a relay is missing."""
    async with running(config) as relay:
        await relay.connected()
        orders(db)
        done = await backfill(config, "start", f"{db.name}.orders", "--dry-run")
        assert done.returncode == 0, done.stderr
        done = await backfill(config, "start", f"{db.name}.orders", "--rate", "1")
        assert done.returncode == 0, done.stderr
        assert "no relay" not in done.stdout
        id_ = done.stdout.partition(":")[0]
        assert "within a second" in (await backfill(config, "pause", id_)).stdout
        for arguments in (["list"], ["show", id_], ["resume", id_]):
            assert (await backfill(config, *arguments)).returncode == 0
        await until(lambda: relay.process.poll() is None, "the relay runs on")
        assert await relay.stop() == 0
