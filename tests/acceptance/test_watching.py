"""`mess tail`, `event`, `status` and `top`: what a user sees of a running relay."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.event import event_id
from mess.ids import hashed_id
from tests.acceptance.commands import PATIENCE, command, environment, mess, running, write
from tests.receiver import Answer, Receiver
from tests.waiting import until

Db = Database[dict[str, Any]]
FORBIDDEN = "\x1b\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}\r\x7f"
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\N{RIGHT-TO-LEFT OVERRIDE}\nforged line\r\x7f"


@pytest.fixture
def config(config: Path, receiver: Receiver) -> Path:
    """The config, with a receiver that takes everything."""
    receiver.answer = Answer(200)
    return config


def with_options(config: Path, **options: Any) -> Path:
    """The same config with other options."""
    return write(config.parent, {**yaml.safe_load(config.read_text()), **options})


def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    """A command that runs beside the test."""
    return subprocess.Popen(command(*arguments), **options)


@asynccontextmanager
async def started(*arguments: Any, folder: Path) -> AsyncIterator[Callable[[], tuple[str, str]]]:
    """A command that runs until it is killed; what it has said so far, on both outputs."""
    out, err = folder / f"out-{time.monotonic_ns()}", folder / f"err-{time.monotonic_ns()}"
    with out.open("w") as one, err.open("w") as two:
        process = popen(*arguments, cwd=folder, env=environment(), stdout=one, stderr=two)
    try:
        yield lambda: (out.read_text(), err.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.wait, PATIENCE)
    assert code == 0, err.read_text()


async def keep_inserting(db: Db, until_said: Callable[[], Any], what: str) -> None:
    """Insert a document again and again, until something is seen of one: a tail shows what comes after its start."""
    deadline = time.monotonic() + PATIENCE
    while not until_said():
        assert time.monotonic() < deadline, what
        await asyncio.to_thread(db.orders.insert_one, {"text": HOSTILE})
        await asyncio.sleep(0.2)


async def test_a_tail_goes_on_when_the_relay_restarts(config: Path, db: Db) -> None:
    """It shows events on lines, or as JSON, escapes what they contain, and ends quietly."""
    folder = config.parent
    async with running(config) as first, AsyncExitStack() as stack:
        await first.connected()  # before the commands start: without a relay, they end at once
        tail = ("tail", "--config", config, "--bodies")
        plain = await stack.enter_async_context(started(*tail, folder=folder))
        as_json = await stack.enter_async_context(started(*tail, "--json", "--operation", "insert", folder=folder))
        await keep_inserting(db, lambda: plain()[0] and as_json()[0], "the first events")
        await first.stop()
        await until(lambda: "the relay has stopped; waiting for it" in plain()[1], "the end", PATIENCE)
        before = len(as_json()[0].splitlines())
        async with running(config) as second:
            await second.connected()
            await keep_inserting(db, lambda: len(as_json()[0].splitlines()) > before, "events after the restart")
            await until(lambda: "the relay is back" in plain()[1], "the relay", PATIENCE)
        out = plain()[0]
        assert not any(character in out + as_json()[0] for character in FORBIDDEN)
        assert not any(line.startswith("forged line") for line in out.splitlines())
        assert re.match(rf"\d\d:\d\d:\d\d\.\d\d\d delivered +insert {db.name}\.orders .* msg_\w+$", out.splitlines()[0])
        found = [json.loads(line) for line in as_json()[0].splitlines()]
        assert found[0]["change"]["fullDocument"]["text"] == HOSTILE


async def test_a_tail_ends_after_so_many(config: Path, db: Db) -> None:
    async with running(config) as relay:
        await relay.connected()
        done = asyncio.create_task(mess("tail", "--config", config, "--count", 2, "--json", folder=config.parent))
        await keep_inserting(db, done.done, "the end of the tail")
        assert done.result().returncode == 0
        assert len(done.result().stdout.splitlines()) == 2
        wrong = await mess("tail", "--config", config, "--outcome", "lost", folder=config.parent)
        assert (wrong.returncode, "outcome" in wrong.stderr) == (2, True)


async def test_where_an_event_is(config: Path, db: Db, receiver: Receiver) -> None:
    """The relay knows it while it runs; the oplog knows when it was committed, and the checkpoint what became of it."""
    folder = config.parent
    other = hashed_id("another")
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await relay.until(lambda: receiver.requests, "the first delivery")
        id_ = receiver.requests[0].headers["webhook-id"]
        done = await mess("event", id_, "--config", config, folder=folder)
        assert (done.returncode, "delivered" in done.stdout) == (0, True)
        unknown = await mess("event", other, "--config", config, "--json", folder=folder)
        assert (unknown.returncode, json.loads(unknown.stdout)["state"]) == (1, "not_seen")
        assert f"mess event {other} --search" in json.loads(unknown.stdout)["text"]
        receiver.answer = Answer(422, body=b"no such customer")
        db.orders.insert_one({"_id": 2})
        await relay.until(lambda: relay.said("events given up"), "the dead letter")
        letter = relay.said("events given up")[0]["first_id"]
        await relay.stop()
    found = json.loads((await mess("event", id_, "--search", "--json", "--config", config, folder=folder)).stdout)
    assert (found["state"], found["namespace"], found["operation"]) == ("done", f"{db.name}.orders", "insert")
    found = json.loads((await mess("event", letter, "--search", "--json", "--config", config, folder=folder)).stdout)
    assert (found["state"], "no such customer" in found["text"]) == ("dead_letter", True)
    db.orders.insert_one({"_id": 3})
    receiver.answer = Answer(200)
    done = await mess("event", other, "--search", "--since", "1h", "--config", config, folder=folder)
    assert (done.returncode, done.stdout.startswith("not seen")) == (1, True)
    assert (await mess("event", "x", "--config", config, folder=folder)).returncode == 2


async def test_an_event_that_the_relay_has_not_reached(config: Path, db: Db, receiver: Receiver) -> None:
    """The oplog knows it; the relay's checkpoint is not past it."""
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await relay.until(lambda: receiver.requests, "the first delivery")
        await relay.stop()
    with db.orders.watch() as changes:
        db.orders.insert_one({"_id": 2})
        id_ = event_id(next(changes)["_id"])
    done = await mess("event", id_, "--search", "--since", "5m", "--json", "--config", config, folder=config.parent)
    assert json.loads(done.stdout)["state"] == "waiting"
    assert done.returncode == 0


async def test_status_on_one_screen(config: Path, db: Db, receiver: Receiver) -> None:
    """Ready or not, streams, pipelines with rates, and why they wait, within 80 columns."""
    folder = config.parent
    async with running(config) as relay:
        await relay.connected()
        receiver.answer = Answer(503, body=HOSTILE.encode())
        db.orders.insert_many([{"_id": number} for number in range(20)])
        await relay.until(lambda: relay.said("step fails, retrying"), "a failure")
        env = {**environment(), "COLUMNS": "80"}
        done = await asyncio.to_thread(
            subprocess.run, command("status", "--config", config), cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in done.stdout
        text = " ".join(done.stdout.split())
        assert "ready" in lines[1:3][0]
        assert "step http of pipeline top level: the sink is down" in text
        assert "20 events wait" in text
        assert not any(character in done.stdout for character in FORBIDDEN)
        whole = await mess("status", "--json", "--config", config, folder=folder)
        assert json.loads(whole.stdout)["pipelines"][0]["steps"][0]["state"] == "down"
        top = await mess("top", "--config", config, folder=folder)
        assert "the sink is down" in top.stdout
        receiver.answer = Answer(200)


async def test_top_on_a_terminal(config: Path) -> None:
    """It shows the relay until q."""
    async with running(config) as relay:
        await relay.connected()
        master, slave = pty.openpty()
        env = {**environment(), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        process = popen("top", "--every", "0.2", "--config", config, stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        os.set_blocking(master, False)
        shown = b""

        def reads(text: bytes) -> bool:
            nonlocal shown
            with suppress(OSError):
                shown += os.read(master, 1 << 16)
            return text in shown

        try:
            await until(lambda: reads(b"ready") and shown.count(b"events/s") >= 4, "two looks", PATIENCE)
            os.write(master, b"q")
            await until(lambda: (reads(b"") or True) and process.poll() is not None, "the end", PATIENCE)
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()
            os.close(master)


@pytest.mark.parametrize("arguments", [["tail"], ["status"], ["top"], ["event", hashed_id("x")]])
async def test_why_no_relay_answers(config: Path, arguments: list[str], receiver: Receiver) -> None:
    """It does not run; something else is at the port; or the token is wrong."""
    folder = config.parent
    done = await mess(*arguments, "--config", config, folder=folder)
    assert (done.returncode, "Start it with `mess run`" in done.stderr) == (9, True), done.stderr
    done = await mess(*arguments, "--admin", receiver.url, folder=folder)
    assert (done.returncode, "is no relay of this version" in done.stderr) == (9, True), done.stderr
    done = await mess(*arguments, "--admin", "localhost:3000", folder=folder)
    assert (done.returncode, "http://127.0.0.1:3000" in done.stderr) == (2, True), done.stderr


async def test_the_token(config: Path, db: Db) -> None:
    """Comes from the config, a file, or the environment; a wrong one is named."""
    folder, port = config.parent, free_port()
    config = with_options(config, admin={"port": port, "token": "correct horse"})
    right, wrong = folder / "right", folder / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("incorrect horse\n")
    async with running(config) as relay:
        await relay.connected()
        url = f"http://127.0.0.1:{port}"
        id_ = hashed_id("x")
        assert (await mess("event", id_, "--config", config, folder=folder)).returncode == 1
        done = await mess("event", id_, "--admin", url, "--token-file", right, folder=folder)
        assert (done.returncode, done.stdout.startswith("not seen")) == (1, True)
        for more in ([], ["--token-file", wrong]):
            done = await mess("event", id_, "--admin", url, *more, folder=folder)
            assert (done.returncode, "token" in done.stderr) == (2, True), done.stderr
        assert (await mess("status", "--admin", url, folder=folder)).returncode == 0
