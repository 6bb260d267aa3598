"""Plays faults of workers that share Kafka's partitions, and has them judged."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.campaign.processes.group import Group
from tests.campaign.processes.judged import drained, judged
from tests.campaign.processes.member import Member
from tests.campaign.processes.recorder import POISON, Recorder
from tests.campaign.writers import Writer
from tests.checker.committed import CommittedChanges
from tests.checker.dead_letters import in_mongodb
from tests.checker.processes import Silence, check_thawed
from tests.checker.verdict import Verdict
from tests.fault.relay import RelayProcess
from tests.servers.kafka import KafkaServer
from tests.waiting import until

SESSION = 6.0
_WORKERS = 3
_SLOW = "slow"
_SLOW_SECONDS = 8.0
_RESUME_SECONDS = 60.0
_RETRY = {"first": "50ms", "cap": "500ms", "max_attempts": 1000}
_GARBAGE: tuple[tuple[bytes | None, bytes | None], ...] = (
    (b"k", b"not json"), (None, b""), (b"\xff", b"{}"), (b"7", b'{"_id": 3}'), (b"k", None), (None, b"[1, 2"),
    (b"k", b'{"operationType": "insert", "ns": 5}'),
)  # fmt: skip
_MODULE = f"""
import time


def slow(input, config, context):
    if str((input.get("fullDocument") or {{}}).get("w", "")).startswith("{_SLOW}"):
        time.sleep({_SLOW_SECONDS})
    return input
"""

FAULTS = (
    "kill", "leave and join", "storm", "broker kill", "broker pause", "freeze", "slow", "poison", "unreadable",
    "endpoint",
)  # fmt: skip


class ManyPartitions(KafkaServer):
    """A broker whose topics have more partitions than there are workers, with short sessions."""

    PARTITIONS = 8

    def __init__(self) -> None:
        session = str(int(SESSION * 1000))
        super().__init__(
            group_min_session_timeout_ms="1000",
            group_initial_rebalance_delay_ms="0",
            group_consumer_min_session_timeout_ms="1000",
            group_consumer_session_timeout_ms=session,
            group_consumer_min_heartbeat_interval_ms="500",
            group_consumer_heartbeat_interval_ms="1000",
        )


@dataclass(frozen=True)
class WorkersScenario:
    """One scenario: all of it but the timing follows from the seed. With `classic`, the group's protocol is that
    of before Kafka 4, whatever the broker has; `down` is the longest time in seconds for which the endpoint is down."""

    seed: int
    name: str
    faults: tuple[str, ...]
    classic: bool
    batch: bool
    pause: float
    down: float

    @property
    def prefix(self) -> str:
        """Begins the names of all databases."""
        return f"k{self.seed}-"

    def __str__(self) -> str:
        words = ("classic" if self.classic else "", "batches" if self.batch else "")
        return ", ".join(("kafka-workers", *filter(None, words))) + f": {', '.join(self.faults)}"


def workers_scenario(seed: int, fault: str | None = None, rounds: int = 8, down: float = 10.0) -> WorkersScenario:
    """The scenario of a seed; with a `fault`, this one only."""
    chance = random.Random(seed)
    return WorkersScenario(
        seed=seed,
        name="kafka-workers",
        faults=tuple(fault or chance.choice(FAULTS) for _ in range(rounds)),
        classic=chance.random() < 0.4,
        batch=chance.random() < 0.3,
        pause=chance.choice((0.04, 0.1)),
        down=down,
    )


class WorkersPlayer:
    """One playing of a scenario, as in `StandbyPlayer`."""

    def __init__(
        self,
        scenario: WorkersScenario,
        servers: ReplicaSet,
        broker: KafkaServer,
        folder: Path,
        say: Callable[[str], Any],
    ) -> None:
        self.scenario = scenario
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.happened: list[str] = []
        self._servers = servers
        self._broker = broker
        self._folder = folder
        self._say = say
        self._chance = random.Random(f"timing {scenario.seed}")
        self._recorder = Recorder()
        self._group = Group([], self._recorder)
        self._frozen: list[Silence] = []
        self._special = 0
        self._database = f"{scenario.prefix}shop"
        self._topic = f"changes.{scenario.prefix}"
        self._state = f"{scenario.prefix}state"
        self._committed = CommittedChanges(servers.url, [self._database])
        spaces = [(self._database, "a"), (self._database, "b")]
        self._writers = [
            Writer(servers.url, spaces, f"{scenario.seed}-{number}", pause=scenario.pause) for number in range(2)
        ]

    async def play(self) -> Verdict:
        """Play it to its end; what the checker finds."""
        try:
            await asyncio.to_thread(self._broker.create, self._topic)
            async with self._recorder.receiver, AsyncExitStack() as stack:
                stack.enter_context(self._committed)
                folder = self._folder / "capture"
                folder.mkdir()
                capture = await stack.enter_async_context(RelayProcess(folder, self._capture()))
                files = {"slowly.py": _MODULE}
                self._group.members = [
                    Member(f"m{number}", self._folder / f"m{number}", self._worker(), files=files)
                    for number in range(_WORKERS)
                ]
                stack.callback(self._group.close)
                for writer in self._writers:
                    writer.start()
                    stack.callback(writer.finish)
                for fault in self.scenario.faults:
                    if not await self._group.settle():
                        break
                    self._say(f"  {fault}")
                    await self._happen(fault)
                    self.happened.append(fault)
                await self._group.settle()
                verdict = await self._end()
                if not capture.running:
                    verdict.problems["capture"].append(capture.text[-2000:])
                return verdict
        finally:
            await asyncio.to_thread(self._clean)

    async def _happen(self, fault: str) -> None:
        if fault in ("poison", "slow"):
            await asyncio.to_thread(self._insert, POISON if fault == "poison" else _SLOW)
            await asyncio.sleep(1.5 if fault == "poison" else _SLOW_SECONDS + 1)
        elif fault == "unreadable":
            await asyncio.to_thread(self._spoil)
            await asyncio.sleep(0.5)
        elif fault == "endpoint":
            await self._recorder.receiver.stop()
            await asyncio.sleep(self._chance.uniform(0.3, 1) * self.scenario.down)
            await self._recorder.receiver.start()
            await self._resume(fault)
        elif fault == "freeze":
            await self._freeze()
        elif fault.startswith("broker"):
            await self._break(fault)
        else:
            await self._move(fault)

    async def _move(self, fault: str) -> None:
        """Have workers come and go."""
        if fault == "kill":
            self._group.kill(self._chance.choice(self._group.members))
            await asyncio.sleep(self._chance.uniform(0.2, 1.5) * SESSION)
            return
        for _ in range(1 if fault == "leave and join" else self._chance.randrange(3, 7)):
            member = self._chance.choice(self._group.members)
            if not member.running:
                await member.start(ready=False)
            elif fault == "storm" and self._chance.random() < 0.3:
                self._group.kill(member)
            else:
                # Before its handlers are in place, the signal ends it.
                await self._group.stop(member, -signal.SIGTERM)
                member.excused = True
            await asyncio.sleep(self._chance.uniform(0, 1.5))

    async def _freeze(self) -> None:
        self._recorder.delay = 0.3
        await asyncio.sleep(0.5)
        member = self._chance.choice(self._group.members)
        member.excused = True
        frozen = Silence(member.name, await member.freeze())
        self._frozen.append(frozen)
        await asyncio.sleep(SESSION * self._chance.uniform(1.3, 2))
        frozen.until = time.time()
        said = len(member.text)
        member.thaw()
        await asyncio.sleep(4)
        frozen.back = next(iter(member.times("partitions assigned", said)), math.inf)
        self._recorder.delay = 0

    async def _break(self, fault: str) -> None:
        if fault == "broker kill":
            await asyncio.to_thread(self._broker.kill)
            await asyncio.sleep(self._chance.uniform(0.5, 8))
            await asyncio.to_thread(self._broker.start)
        else:
            await asyncio.to_thread(self._broker.pause)
            await asyncio.sleep(self._chance.uniform(1, 10))
            self._broker.resume()
        await self._resume(fault)

    async def _resume(self, fault: str) -> None:
        """Return when there are deliveries again."""
        began = time.time()
        await until(lambda: self._recorder.last > began, f"deliveries after {fault}", _RESUME_SECONDS)
        self.times[f"{fault}, until deliveries"].append(self._recorder.last - began)

    def _insert(self, kind: str) -> None:
        """Have an event of a kind delivered amid others of its document."""
        self._special += 1
        key = f"{kind}-{self._special}"
        with MongoClient[dict[str, Any]](self._servers.url) as client:
            collection = client[self._database]["a"]
            collection.insert_one({"_id": key, "w": f"before-{key}"})
            collection.replace_one({"_id": key}, {"w": key})
            collection.replace_one({"_id": key}, {"w": f"after-{key}"})

    def _spoil(self) -> None:
        """Write records that are none of ours."""
        producer = Producer({"bootstrap.servers": self._broker.address})
        for key, value in _GARBAGE:
            producer.produce(self._topic, value=value, key=key)
        assert producer.flush(30) == 0

    async def _end(self) -> Verdict:
        for writer in self._writers:
            await asyncio.to_thread(writer.finish)
        changes = await drained(self._committed, self._recorder, self._database)
        for member in self._group.members:
            await self._group.stop(member)
        ids = {change.id for change in changes}
        letters = await asyncio.to_thread(in_mongodb, self._servers.url, self._state, f"{self.scenario.prefix}workers")
        verdict = judged(
            self._recorder,
            changes,
            self._group,
            self._writers,
            [],
            justified=None,
            letters=[each for each in letters if each in ids],
        )
        check_thawed(self._recorder.deliveries, self._frozen, changes, verdict)
        return verdict

    def _capture(self) -> dict[str, Any]:
        queue = {"url": self._broker.url, "target": self._topic, "json": "canonical"}
        return {
            "name": f"{self.scenario.prefix}capture",
            "mongodb": {"url": self._servers.url},
            "state": {"database": self._state},
            "start": "oldest",
            "databases": {self._database: {}},
            "pipeline": [{"name": "queue", "config": queue, "retry": _RETRY}],
        }

    def _worker(self) -> dict[str, Any]:
        http: dict[str, Any] = {"endpoint": self._recorder.receiver.url, "timeout": "5s"}
        if self.scenario.batch:
            http["batch"] = {"max_events": 20}
        source = {
            "url": self._broker.url,
            "topics": [self._topic],
            "group": self._topic,
            "session_timeout": f"{SESSION:g}s",
            "config": {
                "max.poll.interval.ms": int(SESSION * 1000),
                **({"group.protocol": "classic"} if self.scenario.classic else {}),
            },
        }
        steps = [{"name": "slow"}] if _SLOW in self.scenario.faults else []
        return {
            "name": f"{self.scenario.prefix}workers",
            "source": {"kafka": source},
            "state": {"url": self._servers.url, "database": self._state},
            "databases": {self._database: {}},
            "checkpoint": {"interval": "500ms"},
            "plugins": {"slow": "slowly:slow"} if steps else {},
            "pipeline": [*steps, {"name": "http", "config": http, "retry": _RETRY}],
        }

    def _clean(self) -> None:
        with MongoClient[dict[str, Any]](self._servers.url) as client:
            for name in client.list_database_names():
                if name.startswith(self.scenario.prefix):
                    client.drop_database(name)
