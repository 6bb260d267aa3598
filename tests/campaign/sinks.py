"""Where the relays of a scenario deliver to, and their configs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.campaign.configs import with_second
from tests.campaign.endpoints import TIMEOUT, Endpoint
from tests.campaign.faults import Http, Redis, Target
from tests.campaign.scenario import Scenario
from tests.checker.verdict import Arrival
from tests.servers.redis import RedisServer

_RETRY = {"first": "50ms", "cap": "500ms", "max_attempts": 1000}


class Sinks:
    """Two endpoints, and a stream in Redis where there is a server. Used as `async with`."""

    def __init__(self, scenario: Scenario, redis: RedisServer | None) -> None:
        self.endpoints = [Endpoint(name, f"{scenario.seed}-{name}") for name in ("one", "batch")]
        self.targets: dict[str, Target] = {endpoint.name: Http(endpoint) for endpoint in self.endpoints}
        self._scenario = scenario
        self._redis = None if redis is None else Redis(redis, f"{scenario.prefix}redis")
        if self._redis is not None:
            self.targets["redis"] = self._redis
        self._stack = AsyncExitStack()

    async def collect(self) -> dict[str, list[Arrival]]:
        """What each has accepted so far."""
        found = {endpoint.name: endpoint.accepted for endpoint in self.endpoints}
        if self._redis is not None and "redis" in self._scenario.destinations:
            await asyncio.to_thread(self._redis.read)
            found[self._redis.name] = self._redis.accepted
        return found

    @property
    def refused(self) -> set[str]:
        """Events that may be dead letters."""
        return {identity for endpoint in self.endpoints for identity in endpoint.refused}

    def config(self, url: str, databases: dict[str, Any], state: str, file: Path) -> dict[str, Any]:
        """The relay's config, with its state in the database `state` or in a `file`, as the scenario has it."""
        chosen = self._scenario
        pipeline = [self._step(name) for name in chosen.destinations]
        return {
            "name": chosen.prefix,
            "mongodb": {"url": url},
            "state": {"database": state, **({"url": f"sqlite:///{file}"} if chosen.state == "sqlite" else {})},
            "start": chosen.start,
            "databases": with_second(databases, pipeline[1:]),
            "pipeline": pipeline[:1] if chosen.sinks == "apart" else pipeline,
            **chosen.options,
        }

    def _step(self, name: str) -> dict[str, Any]:
        if name == "redis":
            assert self._redis is not None
            queue = {"url": self._redis.url, "target": self._redis.name, "timeout": "5s"}
            return {"name": "queue", "config": queue, "retry": _RETRY}
        [endpoint] = [endpoint for endpoint in self.endpoints if endpoint.name == name]
        http: dict[str, Any] = {"endpoint": endpoint.url, "timeout": TIMEOUT, "json": self._scenario.json}
        if name == "batch":
            http["batch"] = {"max_events": 40}
        return {"name": "http", "config": http, "retry": _RETRY}

    async def __aenter__(self) -> Sinks:
        for endpoint in self.endpoints:
            await self._stack.enter_async_context(endpoint.receiver)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
