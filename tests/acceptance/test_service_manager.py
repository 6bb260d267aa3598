"""What `mess run` tells systemd: a real relay, and a socket as systemd has it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import PATIENCE, running, write

Db = Database[dict[str, Any]]


class Manager:
    """The receiving end of `NOTIFY_SOCKET`."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self.received: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def lines(self) -> list[str]:
        """All that has been received so far."""
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return [line for _, line in self.received]
            self.received += [(time.monotonic(), line) for line in datagram.decode().split("\n")]

    async def until(self, line: str) -> None:
        """Return when a line that begins so has arrived."""
        deadline = time.monotonic() + PATIENCE
        while not any(each.startswith(line) for each in self.lines()):
            assert time.monotonic() < deadline, self.lines()
            await asyncio.sleep(0.01)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(f"@{tmp_path}/notify")
    yield found
    found.close()


async def test_systemd_learns_of_the_start_of_life_and_of_the_stop(
    manager: Manager, tmp_path: Path, replica_set: ReplicaSet, db: Db
) -> None:
    """READY once the streams are connected and not before, a sign of life every half of the watchdog's time, and the
    stop. The status names a sink that is down, without the secret in its address."""
    config = {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": {"url": f"sqlite:///{tmp_path}/state.db"},
        "databases": {db.name: {}},
        "pipeline": [{"name": "http", "config": {"endpoint": f"http://127.0.0.1:{free_port()}/a-secret-of-the-path"}}],
        "admin": {"enabled": False},
    }
    async with running(write(tmp_path, config), environ={**manager.environ, "WATCHDOG_USEC": "400000"}) as relay:
        await manager.until("READY=1")
        assert relay.said("stream connected")
        await manager.until("STATUS=ready: step http of pipeline top level: ")
        await asyncio.sleep(1.0)
        manager.lines()
        assert await relay.stop() == 0
    lines = manager.lines()
    assert lines.count("READY=1") == lines.count("STOPPING=1") == 1
    assert lines.index("READY=1") < lines.index("STOPPING=1")
    assert "a-secret-of-the-path" not in "".join(lines)
    alive = lines[: lines.index("STOPPING=1")].count("WATCHDOG=1")
    began, ended = (manager.received[lines.index(line)][0] for line in ("READY=1", "STOPPING=1"))
    assert (ended - began) / 0.4 <= alive <= (ended - began) / 0.2 + 10


async def test_a_relay_that_is_not_ready_says_why(manager: Manager, tmp_path: Path) -> None:
    """While MongoDB is away: the reason as status, signs of life, and no READY; an ordinary stop."""
    url = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"
    config = {"mongodb": {"url": url}, "databases": {"shop": {}}, "pipeline": ["log"], "admin": {"enabled": False}}
    async with running(write(tmp_path, config), environ={**manager.environ, "WATCHDOG_USEC": "400000"}) as relay:
        await manager.until("STATUS=not ready: ")
        await relay.until(lambda: relay.said("MongoDB cannot be reached, trying again"), "the reason")
        await manager.until("STATUS=not ready: cannot reach MongoDB")
        await manager.until("WATCHDOG=1")
        assert await relay.stop() == 0
    assert "READY=1" not in manager.lines()
    assert "STOPPING=1" in manager.lines()
