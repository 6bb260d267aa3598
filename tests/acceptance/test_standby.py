"""Two processes of one name under `ha`: one delivers, and the other continues when it ends, freezes or is asked to."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from mess.demo.ports import free_port
from tests.acceptance.commands import PATIENCE, Running, mess, running, write
from tests.acceptance.conftest import Db
from tests.receiver import Answer, Receiver

LEASE = 1.0
BUSY = 3.0
"""Seconds that a busy machine may add."""


@pytest.fixture
def ha(config: Path, receiver: Receiver) -> Path:
    """A config with a short lease, for a receiver that takes everything."""
    receiver.answer = Answer(200)
    lease(config, f"{LEASE:g}s")
    return config


def lease(config: Path, lasts: str) -> None:
    """Let a config have a lease that lasts so long."""
    options: dict[str, Any] = yaml.safe_load(config.read_text())
    write(config.parent, {**options, "ha": {"lease": lasts}})


def other_port() -> tuple[str, str]:
    return "--port", str(free_port())


async def standing_by(relay: Running, number: int = 1) -> Mapping[str, Any]:
    """The log line that says who is active instead."""
    await relay.until(lambda: len(relay.said("standby: another process is active")) >= number, "that it is a standby")
    return relay.said("standby: another process is active")[-1]


async def seconds_until_active(relay: Running, times: int = 1) -> float:
    began = time.monotonic()
    await relay.connected(times)
    return time.monotonic() - began


async def test_a_killed_process_is_replaced_at_once(ha: Path, db: Db, receiver: Receiver) -> None:
    """On one host the standby sees that the process has ended. It has everything else ready."""
    async with running(ha) as first:
        await first.connected()
        async with running(ha, *other_port()) as second:
            assert f"process {first.process.pid} on host" in (await standing_by(second))["active"]
            await asyncio.sleep(2 * LEASE)
            assert not second.said("stream connected"), "a process that is alive keeps its lease"
            db.orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            first.process.kill()
            first.process.wait()
            db.orders.insert_one({"_id": 2})
            assert await seconds_until_active(second) < LEASE + 1 + BUSY
            events = await receiver.wait_for_events(2)
            # The killed process may not have stored that the first one was done.
            assert list(dict.fromkeys(event.body["documentKey"]["_id"] for event in events)) == [1, 2]
            [line] = second.said("active: took the lease")
            assert line["reason"] == "its process has ended"
            assert await second.stop() == 0, second.text


async def test_a_clean_stop_hands_over_at_once(ha: Path, db: Db, receiver: Receiver) -> None:
    """Long before the lease is over."""
    lease(ha, "60s")
    async with running(ha) as first:
        await first.connected()
        async with running(ha, *other_port()) as second:
            await standing_by(second)
            assert await first.stop() == 0, first.text
            assert await seconds_until_active(second) < 1 + BUSY
            db.orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            assert await second.stop() == 0, second.text


async def test_a_frozen_process_is_replaced_and_becomes_a_standby(ha: Path, db: Db, receiver: Receiver) -> None:
    """In the same process, when it wakes up; and it is active again when the other one ends."""
    async with running(ha) as first:
        await first.connected()
        async with running(ha, *other_port()) as second:
            await standing_by(second)
            first.process.send_signal(signal.SIGSTOP)
            try:
                took = await seconds_until_active(second)
                assert took < LEASE + 1 + BUSY
                [line] = second.said("active: took the lease")
                assert line["reason"] == "no sign of life"
                assert float(line["silent"].removesuffix("s")) >= LEASE
                db.orders.insert_one({"_id": 1})
                await receiver.wait_for_events(1)
            finally:
                first.process.send_signal(signal.SIGCONT)
            assert f"process {second.process.pid} on" in (await standing_by(first))["active"]
            [line] = first.said("not active any more; standby")
            assert f"process {second.process.pid} on" in line["reason"]
            assert await second.stop() == 0, second.text
            assert await seconds_until_active(first, 2) < 1 + BUSY
            db.orders.insert_one({"_id": 2})
            events = await receiver.wait_for_events(2)
            assert [event.body["documentKey"]["_id"] for event in events] == [1, 2]
            assert await first.stop() == 0, first.text


async def test_take_over_asks_the_active_process(ha: Path, db: Db, receiver: Receiver) -> None:
    """Nothing is delivered twice, and the one that hands over is the standby from then on."""
    async with running(ha) as first:
        await first.connected()
        async with running(ha, *other_port(), "--take-over") as second:
            await second.connected()
            assert f"process {second.process.pid} on" in (await standing_by(first))["active"]
            [line] = first.said("handing over: another process has asked for the lease")
            assert f"process {second.process.pid} on" in line["to"]
            db.orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            assert await first.stop() == 0, first.text
            assert await second.stop() == 0, second.text


async def test_a_standby_is_not_waited_for(config: Path) -> None:
    """The options contradict each other."""
    refused = await mess("run", "--config", config, "--standby", "--wait=5s", folder=config.parent)
    assert refused.returncode == 2
    assert "--wait" in refused.stderr


async def test_with_and_without_ha_exclude_each_other(config: Path, receiver: Receiver, db: Db) -> None:
    """A standby waits for a process that has no lease, and such a process is kept out while another one has it."""
    receiver.answer = Answer(200)
    async with running(config) as first:
        await first.connected()
        async with running(config, *other_port(), "--standby") as second:
            assert f"process {first.process.pid} on host" in (await standing_by(second))["active"]
            await asyncio.sleep(1)
            assert not second.said("stream connected")
            assert await first.stop() == 0
            assert await seconds_until_active(second) < 1 + BUSY
            done = await mess("run", "--config", config, *other_port(), "--wait=0", folder=config.parent)
            assert done.returncode == 6, done.stderr
            assert f"process {second.process.pid} on host" in done.stderr
            assert await second.stop() == 0


async def test_two_on_one_host_share_the_admin_port_one_after_the_other(ha: Path, db: Db) -> None:
    """The standby works without, says so, and serves as soon as the port is free."""
    port = yaml.safe_load(await asyncio.to_thread(ha.read_text))["admin"]["port"]
    async with running(ha) as first:
        await first.connected()
        async with running(ha) as second:
            await standing_by(second)
            [line] = second.said("the admin server cannot start yet")
            assert "already in use" in line["error"]
            first.process.kill()
            first.process.wait()
            await second.connected()
            status = await until_answered(f"http://127.0.0.1:{port}/status")
            assert status["instance"]["pid"] == second.process.pid
            assert await second.stop() == 0


async def until_answered(url: str) -> dict[str, Any]:
    """The JSON of a page, as soon as it can be had."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    found: dict[str, Any] = await answer.json()
                    return found
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
