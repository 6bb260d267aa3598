"""A private replica set: one or more servers on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, PyMongoError

from mess.demo.mongod import Mongod
from mess.demo.ports import HOST
from mess.demo.server import Server
from mess.errors import MessError

_NAME = "rs0"
_WAIT_SECONDS = 60.0
_ASK_MS = 2000


class ReplicaSet(Server):
    """`count` servers as one replica set.

    `election_ms` is how long the others wait for a silent primary before they elect another. `host`, `oplog_mb`,
    `cache_gb` and `extra` are as in `Mongod`. Nothing runs before `start`. Methods that take time block, so asyncio
    programs call them in a thread. `close` ends every server and removes its data.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        host: str = HOST,
        oplog_mb: int = 64,
        cache_gb: float = 0.25,
        election_ms: int = 1000,
        extra: Sequence[str] = (),
    ) -> None:
        self._election_ms = election_ms
        self.nodes = [
            Mongod(host=host, replica_set=_NAME, oplog_mb=oplog_mb, cache_gb=cache_gb, extra=extra)
            for _ in range(count)
        ]

    @property
    def url(self) -> str:
        """The connection string that names every server and the set."""
        return f"mongodb://{','.join(node.address for node in self.nodes)}/?replicaSet={_NAME}"

    @property
    def primary(self) -> Mongod:
        """The primary; waits for it during an election. Raises MessError if there is none within a minute."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes:
                if node.running and _hello(node).get("isWritablePrimary"):
                    return node
            time.sleep(0.05)
        raise MessError("the replica set has no primary")

    def start(self) -> None:
        """Start every server, initiate the set, and wait until each is primary or secondary. Raises MessError."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Mongod.start, self.nodes))
        _admin(self.nodes[0], "replSetInitiate", self._config())
        self.wait()

    def wait(self) -> None:
        """Return when there is a primary and every running server follows it. Raises MessError after a minute."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            states = [_hello(node) for node in self.nodes if node.running]
            if any(state.get("isWritablePrimary") for state in states) and all(
                state.get("isWritablePrimary") or state.get("secondary") for state in states
            ):
                return
            time.sleep(0.05)
        raise MessError("the replica set did not come up")

    def kill_primary(self) -> Mongod:
        """Kill the primary (SIGKILL) and return it; it can be started again."""
        primary = self.primary
        primary.kill()
        return primary

    def step_down(self, seconds: int = 10) -> Mongod:
        """Make the primary step down for this many seconds, and return it."""
        primary = self.primary
        # Servers before 4.2 close the connection instead of answering.
        with contextlib.suppress(AutoReconnect):
            _admin(primary, "replSetStepDown", seconds, secondaryCatchUpPeriodSecs=5)
        return primary

    def close(self) -> None:
        """Kill every server and remove its data."""
        for node in self.nodes:
            node.close()

    def _config(self) -> dict[str, Any]:
        return {
            "_id": _NAME,
            "members": [{"_id": index, "host": node.address} for index, node in enumerate(self.nodes)],
            "settings": {
                "electionTimeoutMillis": self._election_ms,
                "heartbeatIntervalMillis": max(100, self._election_ms // 4),
            },
        }


def _admin(node: Mongod, command: str, value: Any, **options: Any) -> dict[str, Any]:
    with MongoClient[dict[str, Any]](node.address, directConnection=True, serverSelectionTimeoutMS=_ASK_MS) as client:
        return client.admin.command(command, value, **options)


def _hello(node: Mongod) -> dict[str, Any]:
    try:
        return _admin(node, "hello", 1)
    except PyMongoError:
        return {}
