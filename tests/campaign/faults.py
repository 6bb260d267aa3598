"""What can happen to MongoDB and to sinks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any, Protocol

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from mess.demo.mongod import Mongod
from mess.demo.replica_set import ReplicaSet
from tests.campaign.endpoints import MOODS, Endpoint, healthy
from tests.checker.verdict import Arrival
from tests.servers.redis import RedisServer


class Target(Protocol):
    """Something that faults happen to."""

    async def begin(self, what: str, seconds: float) -> None:
        """Let a fault begin that is to last for so long."""

    async def end(self) -> None:
        """Make it well again."""


class MongoDB:
    """A replica set as a target: `kill`, `step down` or `pause` of its primary."""

    def __init__(self, replica_set: ReplicaSet) -> None:
        self.up = True
        self._set = replica_set
        self._killed: Mongod | None = None
        self._paused: Mongod | None = None

    async def begin(self, what: str, seconds: float) -> None:
        """See `Target`."""
        self.up = False
        await asyncio.to_thread(self._begin, what, seconds)

    async def end(self) -> None:
        """See `Target`."""
        await asyncio.to_thread(self._end)
        self.up = True

    def _begin(self, what: str, seconds: float) -> None:
        primary = self._set.primary
        if what == "kill":
            primary.kill()
            self._killed = primary
        elif what == "pause":
            os.kill(primary.pid, signal.SIGSTOP)
            self._paused = primary
        else:
            _step_down(primary, round(seconds) + 1, force=len(self._set.nodes) == 1)

    def _end(self) -> None:
        if self._paused is not None:
            os.kill(self._paused.pid, signal.SIGCONT)
        if self._killed is not None:
            self._killed.start()
        self._paused = self._killed = None
        self._set.wait()


def _step_down(node: Mongod, seconds: int, *, force: bool) -> None:
    with MongoClient[dict[str, Any]](node.address, directConnection=True, serverSelectionTimeoutMS=2_000) as client:
        try:
            client.admin.command("replSetStepDown", seconds, secondaryCatchUpPeriodSecs=0 if force else 1, force=force)
        except PyMongoError:
            return  # none of the others has caught up, or another fault has just hit it


class Http:
    """An endpoint as a target: the names of its moods, or `closed`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def begin(self, what: str, seconds: float) -> None:
        """See `Target`."""
        if what == "closed":
            await self.endpoint.receiver.stop()
        else:
            self.endpoint.mood = MOODS[what]

    async def end(self) -> None:
        """See `Target`."""
        self.endpoint.mood = healthy
        if not self.endpoint.receiver.listening:
            await self.endpoint.receiver.start()


class Redis:
    """A Redis server as a target: `kill` or `pause`. `accepted` are the events in its stream called `name`."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.name = name
        self.url = server.url
        self.accepted: list[Arrival] = []
        self._server = server
        self._last = "-"
        self._what = ""

    async def begin(self, what: str, seconds: float) -> None:
        """See `Target`."""
        self._what = what
        await asyncio.to_thread(self._server.kill if what == "kill" else self._server.pause)

    async def end(self) -> None:
        """See `Target`."""
        what, self._what = self._what, ""
        if what:
            await asyncio.to_thread(self._server.start if what == "kill" else self._server.resume)

    def read(self) -> None:
        """Add what is new to `accepted`."""
        with self._server.client() as client:
            found: Any = client.xrange(self.name, self._last)
        for number, fields in found:
            self._last = "(" + number.decode()
            identity, replay = fields[b"id"].decode(), b"mess-replay" in fields
            self.accepted.append(Arrival.of(identity, json.loads(fields[b"body"]), replay=replay))
