"""What a service manager is told, and when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mess.telemetry.service_manager import informed


class Relay:
    """A relay, and its own health."""

    def __init__(self) -> None:
        self.stopping = False
        self.status = self
        self.is_not_ready: list[str] = []
        self.stands_by: str | None = None

    def problems(self) -> list[str]:
        return self.is_not_ready

    def standby(self) -> str | None:
        return self.stands_by

    def sink_problems(self) -> list[str]:
        return []

    def warnings(self) -> list[str]:
        return []


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.setblocking(False)
        yield found


def received(receiver: socket.socket) -> list[str]:
    lines: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            lines += receiver.recv(65536).decode().split("\n")
    return lines


def environ(receiver: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": receiver.getsockname(), **more}


async def test_without_a_service_manager_nothing_runs() -> None:
    """No task, no socket: the relay costs what it cost before."""
    before = len(asyncio.all_tasks())
    async with informed(Relay(), {"WATCHDOG_USEC": "1000"}):
        assert len(asyncio.all_tasks()) == before


async def test_an_event_loop_that_hangs_gives_no_sign_of_life(receiver: socket.socket) -> None:
    """That is what the watchdog is for."""
    async with informed(Relay(), environ(receiver, WATCHDOG_USEC="40000")):
        await asyncio.sleep(0.1)
        assert "WATCHDOG=1" in received(receiver)
        time.sleep(0.2)  # noqa: ASYNC251 - it hangs
        assert received(receiver) == []
        await asyncio.sleep(0.1)
        assert "WATCHDOG=1" in received(receiver)


@pytest.mark.parametrize("more", [{"WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {}])
async def test_a_watchdog_of_another_process_is_not_served(receiver: socket.socket, more: dict[str, str]) -> None:
    async with informed(Relay(), environ(receiver, **more)):
        await asyncio.sleep(0.1)
    stopping = ["STOPPING=1", "STATUS=stopping; deliveries in flight are awaited"]
    assert received(receiver) == ["STATUS=ready", "READY=1", *stopping]


async def test_its_own_watchdog_is_served(receiver: socket.socket) -> None:
    async with informed(Relay(), environ(receiver, WATCHDOG_USEC="40000", WATCHDOG_PID=str(os.getpid()))):
        await asyncio.sleep(0.1)
    assert "WATCHDOG=1" in received(receiver)


async def test_a_reason_is_one_line(receiver: socket.socket) -> None:
    """Nothing that a server answered can add a line, such as READY=1."""
    relay = Relay()
    relay.is_not_ready = ["refused:\nREADY=1", "another"]
    async with informed(relay, environ(receiver)):
        await asyncio.sleep(0.05)
        assert received(receiver) == ["STATUS=not ready: refused:\\nREADY=1 (and 1 more)"]


async def test_a_service_manager_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """Nothing listens, or it does not read: the relay goes on, and says it again when somebody does."""
    address = tmp_path / "notify"
    async with informed(Relay(), {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "40000"}):
        await asyncio.sleep(0.05)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as late:
            late.bind(str(address))
            late.setblocking(False)
            await asyncio.sleep(0.1)
            assert "READY=1" in received(late)
    address.unlink()


async def test_a_standby_is_ready_and_says_what_it_is(receiver: socket.socket) -> None:
    """Or the manager would end it before it is needed."""
    relay = Relay()
    relay.stands_by = "standby; process 4711 on host ops-1 is active"
    async with informed(relay, environ(receiver)):
        await asyncio.sleep(0.05)
        assert received(receiver) == [f"STATUS={relay.stands_by}", "READY=1"]
