"""Plays a scenario against real servers, and has it judged."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bson import Timestamp
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.campaign.configs import COLLECTIONS, DATABASES, with_second
from tests.campaign.endpoints import TIMEOUT, Endpoint
from tests.campaign.faults import Http, MongoDB, Redis, Target
from tests.campaign.keeper import RelayKeeper
from tests.campaign.scenario import Fault, Scenario
from tests.campaign.writers import Writer
from tests.checker.committed import FENCES, Change, CommittedChanges
from tests.checker.dead_letters import in_mongodb, in_sqlite
from tests.checker.runs import Coverage, Expectation
from tests.checker.verdict import Arrival, Verdict, check_order, judge
from tests.servers.redis import RedisServer

_DRAIN_SECONDS = 45.0
_LINGER_SECONDS = 0.7
_SETTLED_SECONDS = 1.5
"""How long nothing is written before a relay that has delivered everything is taken to have passed everything."""


class Player:
    """One playing of a scenario. `folder` is for the relay's files; `say` gets a line for each thing that happens."""

    def __init__(
        self,
        scenario: Scenario,
        replica_set: ReplicaSet,
        redis: RedisServer | None,
        folder: Path,
        say: Callable[[str], Any],
    ) -> None:
        self.scenario = scenario
        self._url = replica_set.url
        self._folder = folder
        self._say = say
        self._mongodb = MongoDB(replica_set)
        self._endpoints = [Endpoint(name, f"{scenario.seed}-{name}") for name in ("one", "batch")]
        self._redis = None if redis is None else Redis(redis, f"{scenario.prefix}redis")
        self._targets: dict[str, Target] = {"mongodb": self._mongodb}
        if self._redis is not None:
            self._targets["redis"] = self._redis
        self._targets |= {endpoint.name: Http(endpoint) for endpoint in self._endpoints}
        self._committed = CommittedChanges(self._url)
        self._keeper = RelayKeeper(folder, self._committed, lambda: self._mongodb.up)
        spaces = [(scenario.prefix + db, coll) for db in DATABASES for coll in COLLECTIONS]
        self._writers = [
            Writer(
                self._url,
                spaces,
                f"{scenario.seed}-{number}",
                pause=scenario.pause,
                drops=scenario.drops,
                large=scenario.large,
            )
            for number in range(scenario.writers)
        ]
        self._databases = scenario.first

    async def play(self) -> Verdict:
        """Play it to its end; what the checker finds."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                for endpoint in self._endpoints:
                    await stack.enter_async_context(endpoint.receiver)
                stack.enter_context(self._committed)
                stack.callback(self._keeper.close)
                await self._keeper.start(self._config())
                for writer in self._writers:
                    writer.start()
                stack.callback(self._finish_writers)
                await self._suffer()
                return await self._drain()
        finally:
            await asyncio.to_thread(self._clean)

    async def _suffer(self) -> None:
        """Let the faults happen at their times."""
        await self._keeper.ready()
        began = time.monotonic()
        moments = [(fault.at, fault, True) for fault in self.scenario.faults]
        moments += [(fault.until, fault, False) for fault in self.scenario.faults]
        for at, fault, begins in sorted(moments, key=lambda moment: moment[0]):
            await asyncio.sleep(max(0.0, at - (time.monotonic() - began)))
            await self._keeper.revive()
            if begins and fault.target == "relay" and fault.patient:
                began += await self._keeper.ready()
            if begins:
                self._say(f"{time.monotonic() - began:5.1f} s  {fault.target} {fault.what}")
            if fault.target == "relay":
                await (self._relay_begins(fault) if begins else self._relay_ends(fault))
            elif begins:
                await self._targets[fault.target].begin(fault.what, fault.until - fault.at)
            else:
                await self._targets[fault.target].end()

    async def _relay_begins(self, fault: Fault) -> None:
        if fault.what == "pause":
            self._keeper.pause()
        elif fault.what == "kill":
            await self._keeper.kill()
        else:
            if fault.what == "settle":
                await self._settle()
            await self._keeper.stop()

    async def _relay_ends(self, fault: Fault) -> None:
        if fault.what == "pause":
            self._keeper.resume()
            return
        if fault.databases is not None:
            self._databases = fault.databases
            self._say(f"         relay starts with {self._databases}")
        await self._keeper.start(self._config())

    async def _settle(self) -> None:
        """Have everything delivered that is committed by now, and nothing written meanwhile."""
        for writer in self._writers:
            writer.running.clear()
        moment = await self._delivered(10)
        if moment is not None:
            await asyncio.sleep(_SETTLED_SECONDS)
            self._keeper.runs[-1].drained = moment
        for writer in self._writers:
            writer.running.set()

    async def _drain(self) -> Verdict:
        """With everything well again, have everything delivered, and judge it."""
        for target in self._targets.values():
            await target.end()
        if self.scenario.last is not None and self.scenario.last != self._databases:
            await self._keeper.stop()
            self._databases = self.scenario.last
            self._say(f"         relay starts with {self._databases}")
            await self._keeper.start(self._config())
        self._keeper.resume()
        await asyncio.sleep(1)
        await asyncio.to_thread(self._finish_writers)
        began = time.monotonic()
        moment = await self._delivered(_DRAIN_SECONDS)
        self._say(f"         drained within {time.monotonic() - began:.1f} s" if moment else "         NOT DRAINED")
        await asyncio.sleep(_LINGER_SECONDS)
        if moment is None and self._keeper.running:
            self._say(f"         /status: {(await self._keeper.relay.get('/status'))[1]}")
        await self._keeper.revive()
        await self._keeper.stop()
        await self._keeper.times()
        # Whether it has come that far or not, it had the time to.
        self._keeper.runs[-1].drained = moment or await asyncio.to_thread(self._committed.catch_up)
        await self._collect()
        return self._judge()

    async def _delivered(self, seconds: float) -> Timestamp | None:
        """The time of now, as soon as everything that was committed until then has arrived; None if it does not."""
        moment = await asyncio.to_thread(self._committed.catch_up)
        changes = [change for change in self._committed.changes if change.time <= moment]
        deadline = time.monotonic() + seconds
        expected: dict[str, Expectation] = {}
        while True:
            await self._keeper.revive()
            run = self._keeper.runs[-1]
            if run.ready is not None:
                if not expected:
                    await self._keeper.times()
                    run.drained = moment
                    expected = Coverage(self._keeper.runs).expectations(changes)
                    run.drained = None
                await self._collect()
                changes = self._missing(changes, expected)
                if not changes:
                    return moment
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.2)

    def _missing(self, changes: Sequence[Change], expected: dict[str, Expectation]) -> list[Change]:
        letters = self._dead_letters()
        arrived = {name: {arrival.id for arrival in found} for name, found in self._accepted().items()}
        return [
            change
            for change in changes
            if change.id not in letters
            and not expected[change.id].met(frozenset(name for name, ids in arrived.items() if change.id in ids))
        ]

    def _judge(self) -> Verdict:
        changes = self._committed.changes
        expectations = Coverage(self._keeper.runs).expectations(changes)
        refused = {identity for endpoint in self._endpoints for identity in endpoint.refused}
        verdict = judge(changes, expectations, self._accepted(), dead_letters=self._dead_letters(), refused=refused)
        for endpoint in self._endpoints:
            check_order(f"{endpoint.name} (as read)", endpoint.read, changes, expectations, verdict)
        marks = {change.mark for change in changes}
        for writer in self._writers:
            if lost := writer.acknowledged - marks:
                verdict.problems["acknowledged writes that the checker has not seen"].append(str(sorted(lost)[:5]))
        for problem in self._keeper.problems:
            verdict.problems["the relay's process"].append(problem)
        text = self._keeper.text
        for word in ("Traceback (most recent call last)", "never awaited"):
            if (at := text.find(word)) >= 0:
                verdict.problems["its log"].append(text[max(0, at - 300) : at + 1500])
        return verdict

    async def _collect(self) -> None:
        if self._redis is not None and "redis" in self.scenario.destinations:
            await asyncio.to_thread(self._redis.read)

    def _accepted(self) -> dict[str, list[Arrival]]:
        found = {endpoint.name: endpoint.accepted for endpoint in self._endpoints}
        return found if self._redis is None else {**found, self._redis.name: self._redis.accepted}

    def _dead_letters(self) -> dict[str, str]:
        if self.scenario.state == "mongodb":
            return in_mongodb(self._url, self._state, self.scenario.prefix)
        with contextlib.suppress(sqlite3.OperationalError):  # there is no file yet
            return in_sqlite(self._folder / "state.db", self.scenario.prefix)
        return {}

    def _finish_writers(self) -> None:
        for writer in self._writers:
            writer.finish()

    def _clean(self) -> None:
        with MongoClient[dict[str, Any]](self._url) as client:
            for name in client.list_database_names():
                if name.startswith(self.scenario.prefix) or name == FENCES:
                    client.drop_database(name)

    @property
    def _state(self) -> str:
        return f"{self.scenario.prefix}state"

    def _config(self) -> dict[str, Any]:
        retry = {"first": "50ms", "cap": "500ms", "max_attempts": 1000}
        steps: dict[str, dict[str, Any]] = {
            endpoint.name: {
                "name": "http",
                "config": {
                    "endpoint": endpoint.url,
                    "timeout": TIMEOUT,
                    **({"batch": {"max_events": 40}} if endpoint.name == "batch" else {}),
                },
                "retry": retry,
            }
            for endpoint in self._endpoints
        }
        if self._redis is not None:
            queue = {"url": self._redis.url, "target": self._redis.name, "timeout": "5s"}
            steps["redis"] = {"name": "queue", "config": queue, "retry": retry}
        apart = self.scenario.sinks == "apart"
        pipeline = [steps[name] for name in self.scenario.destinations]
        return {
            "name": self.scenario.prefix,
            "mongodb": {"url": self._url},
            "state": {
                "database": self._state,
                **({"url": f"sqlite:///{self._folder}/state.db"} if self.scenario.state == "sqlite" else {}),
            },
            "start": self.scenario.start,
            "databases": with_second(self._databases, pipeline[1:]),
            "pipeline": pipeline[:1] if apart else pipeline,
            **self.scenario.options,
        }
