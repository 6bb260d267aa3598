"""Two processes of one name under `ha`: one delivers, and the other continues when it ends, freezes or is asked to."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mess.demo.ports import free_port
from tests.acceptance.commands import Running, mess, running, write
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
            assert [event.body["documentKey"]["_id"] for event in events[:2]] == [1, 2]
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


async def test_standby_is_an_option_of_the_command(config: Path, receiver: Receiver, db: Db) -> None:
    """For a config without `ha`; a process that was started without it is waited for, however long that takes."""
    receiver.answer = Answer(200)
    async with running(config, "--standby") as first:
        await first.connected()
        async with running(config, *other_port(), "--standby") as second:
            await standing_by(second)
            assert await first.stop() == 0
            assert await seconds_until_active(second) < 1 + BUSY
            assert await second.stop() == 0
    refused = await mess("run", "--config", config, "--standby", "--wait=5s", folder=config.parent)
    assert refused.returncode == 2
    assert "--wait" in refused.stderr
