"""Two processes of one name: the second waits for the first, and takes nothing away from it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from mess.demo.ports import free_port
from tests.acceptance.commands import Running, mess, running, write
from tests.acceptance.conftest import Db
from tests.receiver import Answer, Receiver
from tests.waiting import until

WAITING = "waiting for another process with this name to stop"
AT_ONCE = 3.0
"""Seconds; a process starts in one or two of them on a busy machine, and looks every half second."""


@pytest.fixture(autouse=True)
def _accepting(receiver: Receiver) -> None:
    receiver.answer = Answer(200)


in_mongodb = pytest.mark.parametrize("config", ["mongodb"], indirect=True)
"""For what only MongoDB's beats have to tell apart: of a file's lock the kernel knows."""


def other_port() -> tuple[str, str]:
    return "--port", str(free_port())


def options(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(config.read_text())
    return found


async def page(port: int, path: str) -> str:
    """One of the admin server's pages, with its headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


def relays(db: Db) -> Any:
    """Where MongoDB keeps the beat."""
    return db.client[f"{db.name}-state"].relays


async def waiting(relay: Running) -> dict[str, Any]:
    """The log line that says for whom it waits."""
    await relay.until(lambda: relay.said(WAITING), "word of whom it waits for")
    [line] = relay.said(WAITING)
    return line


async def started(relay: Running, since: float) -> float:
    """How many seconds after `since` it has connected."""
    await relay.connected()
    return time.monotonic() - since


async def test_the_second_waits_and_starts_when_the_first_stops(config: Path, db: Db, receiver: Receiver) -> None:
    """It says for whom it waits, and the first works on undisturbed. In between no event is delivered twice."""
    async with running(config) as first:
        await first.connected()
        async with running(config, *other_port()) as second:
            line = await waiting(second)
            assert line["level"] == "warning"
            assert f"process {first.process.pid} on host " in line["process"]
            assert "running since 20" in line["process"]
            assert line["wait"] == "30s"
            assert "--take-over" in line["hint"]
            db.orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            await asyncio.sleep(2)
            assert not second.said("stream connected")
            assert await first.stop() == 0, first.text
            assert await started(second, time.monotonic()) < AT_ONCE
            db.orders.insert_one({"_id": 2})
            events = await receiver.wait_for_events(2)
            assert [event.body["documentKey"]["_id"] for event in events] == [1, 2]
            assert await second.stop() == 0
    assert "Traceback" not in first.text + second.text


async def test_a_first_that_is_killed_is_replaced_at_once(config: Path) -> None:
    """A crash, or the kernel when memory is short: both the process that waits and one that starts afterwards."""
    async with running(config) as first:
        await first.connected()
        async with running(config, *other_port()) as second:
            await waiting(second)
            first.process.kill()
            first.process.wait()
            assert await started(second, time.monotonic()) < AT_ONCE
            second.process.kill()
            second.process.wait()
    async with running(config) as third:
        await third.connected()
        assert not third.said(WAITING)
        assert await third.stop() == 0


@pytest.mark.parametrize("wait", [("--wait", "2s"), ("--wait", "0")])
async def test_a_first_that_does_not_stop_leaves_the_second_with_6(
    config: Path, db: Db, receiver: Receiver, wait: tuple[str, str]
) -> None:
    """The message names the other process and what can be done; the first is not disturbed."""
    async with running(config) as first:
        await first.connected()
        began = time.monotonic()
        done = await mess("run", "--config", config, *other_port(), *wait, folder=config.parent)
        assert done.returncode == 6, done.stderr
        assert time.monotonic() - began < 25
        assert (WAITING in done.stdout) == (wait != ("--wait", "0"))
        last = done.stderr.splitlines()[-1]
        assert f"another process runs under the name '{db.name}'" in last
        assert f"process {first.process.pid} on host" in last
        for option in ("--wait 5m", "--take-over", "`name`"):
            assert option in last
        assert "Traceback" not in done.stdout + done.stderr
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        assert await first.stop() == 0


async def test_take_over_stops_the_first(config: Path, db: Db, receiver: Receiver) -> None:
    """With 6, and a message that says by whom; within a few seconds even where nothing happens."""
    async with running(config) as first:
        await first.connected()
        async with running(config, *other_port(), "--take-over") as second:
            await second.connected()
            [line] = second.said("taking over from another process with this name, which will stop")
            assert f"process {first.process.pid} on host" in line["process"]
            began = time.monotonic()
            assert await first.ended() == 6
            assert time.monotonic() - began < 8
            last = first.text.splitlines()[-1]
            assert f"another process has taken over the name '{db.name}'" in last
            assert f"process {second.process.pid} on host" in last
            db.orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            assert await second.stop() == 0
    async with running(config) as third:
        await third.connected()
        assert not third.said(WAITING), "the second has released the name"
        assert await third.stop() == 0


async def test_the_same_config_twice_on_one_host_waits_for_the_port_as_well(config: Path) -> None:
    async with running(config) as first:
        await first.connected()
        async with running(config) as second:
            await waiting(second)
            [line] = second.said("the admin server cannot start yet")
            assert "already in use" in line["error"]
            assert await first.stop() == 0
            await second.connected()
            status = json.loads((await page(options(config)["admin"]["port"], "/status")).partition("\r\n\r\n")[2])
            assert status["instance"]["pid"] == second.process.pid
            assert status["instance"]["id"] == second.said("starting")[0]["instance"]
            assert await second.stop() == 0


async def test_a_stop_while_it_waits_is_obeyed_and_leaves_the_first_alone(config: Path) -> None:
    async with running(config) as first:
        await first.connected()
        async with running(config, *other_port()) as second:
            await waiting(second)
            assert await asyncio.wait_for(second.stop(), 5) == 0
        done = await mess("run", "--config", config, *other_port(), "--wait=0", folder=config.parent)
        assert done.returncode == 6
        assert await first.stop() == 0


async def test_what_the_readiness_page_says_meanwhile(config: Path) -> None:
    async with running(config) as first:
        await first.connected()
        port = free_port()
        async with running(config, "--port", port) as second:
            await waiting(second)
            answer = await page(port, "/readyz")
            assert answer.startswith("HTTP/1.0 503")
            assert f"to stop: process {first.process.pid} on host" in answer


def elsewhere(db: Db, **changes: Any) -> None:
    """Make the running process's record that of a process on another host, or in another container."""
    relays(db).update_one({"_id": db.name}, {"$set": {f"beat.{name}": value for name, value in changes.items()}})


@in_mongodb
async def test_a_lost_host_is_replaced_within_20_seconds(config: Path, db: Db) -> None:
    """The process does not answer, and its host cannot be asked. The host's name may even be this one's."""
    async with running(config) as first:
        await first.connected()
        elsewhere(db, boot="the boot of another host")
        first.process.send_signal(signal.SIGSTOP)
        lost = time.monotonic()
        try:
            async with running(config, *other_port()) as second:
                await waiting(second)
                assert 9 < await started(second, lost) < 20
                # The clock of the server decides, so that this one is not taken for lost in turn.
                first.process.send_signal(signal.SIGCONT)
                assert await first.ended() == 6
                assert await second.stop() == 0
        finally:
            first.process.send_signal(signal.SIGCONT)


@in_mongodb
async def test_a_host_that_was_lost_long_ago_is_replaced_soon(config: Path, db: Db) -> None:
    async with running(config) as first:
        await first.connected()
        first.process.kill()
        first.process.wait()
    now = relays(db).database.command("hello")["localTime"]
    elsewhere(db, boot="the boot of another host", time=now - timedelta(days=365))
    async with running(config) as second:
        assert "last seen 8760 h ago" in (await waiting(second))["process"]
        assert await started(second, time.monotonic()) < 4 + AT_ONCE
        assert await second.stop() == 0


@in_mongodb
async def test_a_living_process_on_another_host_is_waited_for(config: Path, db: Db) -> None:
    """With this host's name, and a pid that does not run here."""
    async with running(config) as first:
        await first.connected()
        elsewhere(db, boot="the boot of another host", pid=2**22 - 1)
        done = await mess("run", "--config", config, *other_port(), "--wait=16s", folder=config.parent)
        assert done.returncode == 6, "the beats go on, whatever the rest of the record says"
        assert await first.stop() == 0


@in_mongodb
@pytest.mark.parametrize("hours", [pytest.param(-5, marks=pytest.mark.long), 5])
async def test_the_clock_of_this_host_does_not_matter(config: Path, db: Db, hours: int) -> None:
    """A process whose clock is hours off neither takes over from a living one nor waits for a lost one for ever."""
    (config.parent / "wrong").mkdir()
    (config.parent / "wrong/sitecustomize.py").write_text(
        f"import time; right = time.time; time.time = lambda: right() + {hours * 3600}"
    )
    async with running(config) as first:
        await first.connected()
        elsewhere(db, boot="the boot of another host")
        wrong = {"PYTHONPATH": str(config.parent / "wrong")}
        async with running(config, *other_port(), environ=wrong) as second:
            await waiting(second)
            await asyncio.sleep(4)
            assert not second.said("stream connected")
            first.process.kill()
            first.process.wait()
            assert await started(second, time.monotonic()) < 20
            async with running(config, *other_port()) as third:
                await waiting(third)
            assert await second.stop() == 0


@in_mongodb
async def test_a_restarted_container_replaces_itself_at_once(config: Path, db: Db) -> None:
    """The same container, started again after a crash: its processes have another pid namespace. Simulated by the
    record, since this test does not run in a container whose id could be read."""
    async with running(config) as first:
        await first.connected()
        first.process.kill()
        first.process.wait()
    here = relays(db).find_one({"_id": db.name})["beat"]
    elsewhere(db, namespace="pid:[1]", container=here["container"] or "c0ffee")
    async with running(config) as second:
        await second.connected()
        assert bool(second.said(WAITING)) != bool(here["container"]), "without the container's id it could be anybody's"
        assert await second.stop() == 0


@in_mongodb
async def test_beats_do_not_cause_checkpoints(config: Path, db: Db) -> None:
    """A beat moves the oplog, and with it the position of a relay that watches everything; that costs one write each
    three seconds, and no checkpoint before `idle_interval`."""
    write(config.parent, {**options(config), "databases": {db.name: {}, "*-nowhere": {}}})
    async with running(config) as relay:
        await relay.connected()
        beat = relays(db).find_one({"_id": db.name})["beat"]
        state = relays(db).database
        stored = list(state.checkpoints.find())
        await asyncio.sleep(7)
        assert relays(db).find_one({"_id": db.name})["beat"]["time"] > beat["time"]
        assert list(state.checkpoints.find()) == stored
        assert await relay.stop() == 0
    assert "beat" not in relays(db).find_one({"_id": db.name})


@in_mongodb
async def test_a_beat_that_cannot_be_written_does_not_stop_the_relay(
    config: Path, mongo: MongoClient[dict[str, Any]], db: Db, receiver: Receiver
) -> None:
    """The document is locked out by a validator, as if MongoDB refused it: events are delivered all the same."""
    async with running(config) as relay:
        await relay.connected()
        state = relays(db).database
        state.command({"collMod": "relays", "validator": {"beat": {"$exists": False}}, "validationAction": "error"})
        await asyncio.sleep(4)
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        state.command({"collMod": "relays", "validator": {}})
        state.relays.drop()
        await until(lambda: relays(db).find_one({"beat.pid": relay.process.pid}), "the next beat", 8)
        assert await relay.stop() in (0, 5), relay.text


@pytest.mark.parametrize(
    "command",
    [
        ["checkpoints", "list"],
        ["dead-letters", "list"],
        ["replay", "--from", "1h"],
        ["check"],
    ],
    ids=lambda command: command[0],
)
async def test_other_commands_work_beside_it_and_take_nothing(config: Path, db: Db, command: list[str]) -> None:
    async with running(config) as relay:
        await relay.connected()
        done = await mess(*command, "--config", config, folder=config.parent)
        assert done.returncode in (0, 8), done.stdout + done.stderr
        assert WAITING not in done.stdout + done.stderr
        second = await mess("run", "--config", config, *other_port(), "--wait=0", folder=config.parent)
        assert second.returncode == 6, "the relay has its name still"
        assert await relay.stop() == 0
