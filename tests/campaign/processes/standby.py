"""Plays faults of standbys against real servers, and has them judged."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.campaign.faults import MongoDB
from tests.campaign.processes.group import Group
from tests.campaign.processes.judged import drained, judged
from tests.campaign.processes.member import Member
from tests.campaign.processes.recorder import Recorder
from tests.campaign.processes.setups import FAULTS, LEASE, StandbyScenario
from tests.campaign.writers import Writer
from tests.checker.committed import CommittedChanges
from tests.checker.processes import Silence
from tests.checker.verdict import Verdict
from tests.servers.network import Namespace, Network
from tests.waiting import until

COLLECTIONS = ("a", "b")
RETRY = {"first": "50ms", "cap": "500ms", "max_attempts": 1000}
_TAKEOVER_SECONDS = 30.0
_START_SECONDS = 120.0
_SLOW_ANSWER = 0.4
_LATE = 8.0
"""How much later than promised a takeover may be on a machine that is busy with other things."""
_CLOCKS = ("+1h", "-1h", "+0")
_BOOT = "/proc/sys/kernel/random/boot_id"
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

Times = defaultdict[str, list[float]]


class StandbyPlayer:
    """One playing of a scenario. `store` keeps the state where the setup has it apart; `folder` is for files, and `say`
    gets a line for each thing that happens. `happened` are the
    faults so far, and `times` the seconds that takeovers took, by fault."""

    def __init__(
        self,
        scenario: StandbyScenario,
        servers: ReplicaSet,
        store: ReplicaSet,
        folder: Path,
        say: Callable[[str], Any],
        network: Network | None = None,
    ) -> None:
        self.scenario = scenario
        self.times: Times = defaultdict(list)
        self.happened: list[str] = []
        self._servers = servers
        self._store = store
        self._folder = folder
        self._say = say
        self._chance = random.Random(f"timing {scenario.seed}")
        self._recorder = Recorder(network.receiver if network else "127.0.0.1")
        self._spaces = {f"m{n}": network.namespace() for n in range(scenario.setup.members)} if network else {}
        self._group = Group([], self._recorder)
        self._silences: list[Silence] = []
        self._justified = 0
        self._database = f"{scenario.prefix}shop"
        self._committed = CommittedChanges(servers.url, [self._database])
        self._writers = [
            Writer(
                servers.url,
                [(self._database, name) for name in COLLECTIONS],
                f"{scenario.seed}-{number}",
                pause=scenario.pause,
                drops=scenario.drops,
            )
            for number in range(2)
        ]

    async def play(self) -> Verdict:
        """Play it to its end; what the checker finds."""
        try:
            async with self._recorder.receiver, AsyncExitStack() as stack:
                stack.enter_context(self._committed)
                self._group.members = [self._member(number) for number in range(self.scenario.setup.members)]
                stack.callback(self._group.close)
                await self._group.members[0].start(ready=False)
                await self._group.members[0].warm(_START_SECONDS)
                for writer in self._writers:
                    writer.start()
                    stack.callback(writer.finish)
                for fault in self.scenario.faults:
                    if not await self._group.settle():
                        break
                    await self._happen(fault)
                    self.happened.append(fault)
                await self._group.settle()
                return await self._end()
        finally:
            await asyncio.to_thread(self._clean)

    async def _happen(self, fault: str) -> None:
        before = self._recorder.epoch
        self._justified += FAULTS[fault]
        action, _, what = fault.partition(" ")
        self._say(f"  epoch {before}, {self._recorder.process} is active: {fault}")
        if action == "kill":
            await self._kill(what)
        elif action == "stop":
            await self._stop(standby=what == "standby")
        elif action == "freeze":
            await self._freeze()
        elif action == "store":
            await self._store_down(what)
        elif action == "cut":
            await self._cut(standby=what == "standby")
        else:
            await self._primary(what)
        if not FAULTS[fault] and self._recorder.epoch != before:
            self._group.problems.append(f"a takeover from epoch {before} without a reason, after {fault}")

    async def _kill(self, what: str) -> None:
        if what == "standby":
            self._group.kill(self._chance.choice(self._group.standbys))
            await asyncio.sleep(1.5 * LEASE)
            return
        began, before = time.time(), self._recorder.epoch
        self._group.kill(self._group.active)
        if what == "again":
            survivors = self._group.running
            if self._chance.random() < 0.5:
                await asyncio.sleep(self._chance.uniform(0.6, 1.4) * LEASE)
                self._group.kill(self._chance.choice(survivors))
            else:
                await self._next(before)
                self._group.kill(self._group.active)
                before = self._recorder.epoch
            began = time.time()
            if self._group.active.running and self._recorder.epoch > before:
                return  # the other standby was hit
        await self._taken_over("kill", began, before, LEASE + 1)

    async def _stop(self, *, standby: bool) -> None:
        began, before = time.time(), self._recorder.epoch
        if standby:
            await self._group.stop(self._chance.choice(self._group.standbys))
            await asyncio.sleep(1.5 * LEASE)
            return
        stopping = asyncio.create_task(self._group.stop(self._group.active))
        await self._taken_over("stop", began, before, 1)
        await stopping

    async def _freeze(self) -> None:
        self._recorder.delay = _SLOW_ANSWER
        await asyncio.sleep(self._chance.uniform(0.3, 0.8))
        member, before = self._group.active, self._recorder.epoch
        member.excused = True
        silence = Silence(member.name, await member.freeze())
        self._silences.append(silence)
        try:
            await self._taken_over("freeze", silence.since, before, LEASE + 1)
            await asyncio.sleep(self._chance.uniform(0, 1.5))
        finally:
            silence.until = time.time()
            member.thaw()
        await asyncio.sleep(self._chance.uniform(0.5, 1))
        self._recorder.delay = 0

    async def _store_down(self, what: str) -> None:
        store = MongoDB(self._store)
        for member in self._group.members:
            member.excused = True
        await store.begin(what, 0)
        silence = Silence(None, time.time() + LEASE, why="the state store has been down for a lease")
        self._silences.append(silence)
        await asyncio.sleep(self._chance.uniform(1.5, 4) * LEASE)
        silence.until = time.time()
        await store.end()
        up = time.time()
        await self._delivers()
        self.times["store down"].append(time.time() - up)

    async def _cut(self, *, standby: bool) -> None:
        member = self._group.standbys[0] if standby else self._group.active
        before, space = self._recorder.epoch, self._spaces[member.name]
        member.excused = True
        began = time.time()
        space.cut()
        silence = Silence(member.name, time.time() + LEASE, why="cut off from MongoDB for a lease")
        self._silences.append(silence)
        try:
            if not standby:
                await self._taken_over("cut", began, before, LEASE + 1)
            await asyncio.sleep(self._chance.uniform(1, 3) * LEASE)
        finally:
            silence.until = time.time()
            space.heal()
        await asyncio.sleep(1)

    async def _primary(self, what: str) -> None:
        servers = MongoDB(self._servers)
        for member in self._group.members:
            member.excused = True
        began = time.time()
        await servers.begin(what, 3)
        await asyncio.sleep(self._chance.uniform(1, 4))
        await servers.end()
        await self._delivers(began + 1)
        self.times[f"primary {what}, without deliveries"].append(self._recorder.longest_pause(began))

    async def _next(self, epoch: int) -> None:
        await until(
            lambda: self._recorder.epoch > epoch,
            lambda: f"no takeover from epoch {epoch}: {[each.text[-1500:] for each in self._group.running]}",
            _TAKEOVER_SECONDS,
        )

    async def _taken_over(self, name: str, began: float, epoch: int, promised: float) -> None:
        await self._next(epoch)
        took = min(first for number, first in self._recorder.first.items() if number > epoch) - began
        self.times[name].append(took)
        self._say(f"    taken over within {took:.2f} s by {self._recorder.process}")
        if took > promised + _LATE:
            self._group.problems.append(f"a takeover after {name} took {took:.2f} s, promised are {promised:g}")

    async def _delivers(self, since: float | None = None) -> None:
        began = since or time.time()
        await until(lambda: self._recorder.last > began, "deliveries again", 2 * _TAKEOVER_SECONDS)

    async def _end(self) -> Verdict:
        for writer in self._writers:
            await asyncio.to_thread(writer.finish)
        changes = await drained(self._committed, self._recorder, self._database)
        for member in self._group.members:
            await self._group.stop(member)
        return judged(self._recorder, changes, self._group, self._writers, self._silences, justified=self._justified)

    def _member(self, number: int) -> Member:
        name, host = f"m{number}", "127.0.0.1"
        prefix: list[str] = []
        space: Namespace | None = self._spaces.get(name)
        if space is not None:
            prefix += space.prefix
            host = space.address
        if self.scenario.setup.hosts:
            boot = self._folder / f"boot-{number}"
            boot.write_text(f"{uuid.uuid4()}\n")
            prefix += ["unshare", "--mount", "sh", "-c", f'mount --bind {boot} {_BOOT} && exec "$@"', "sh"]
        if self.scenario.setup.clocks:
            if not Path(_FAKETIME).exists():  # the processes would start without it, with the same clock
                raise FileNotFoundError(f"{_FAKETIME}: apt-get install faketime")
            prefix += ["env", f"LD_PRELOAD={_FAKETIME}", f"FAKETIME={_CLOCKS[number]}", "DONT_FAKE_MONOTONIC=1"]
        return Member(name, self._folder / name, self._config(), prefix=tuple(prefix), host=host)

    def _config(self) -> dict[str, Any]:
        state: dict[str, Any] = {"database": f"{self.scenario.prefix}state"}
        if self.scenario.setup.state == "sqlite":
            state["url"] = f"sqlite:///{self._folder / 'state.db'}"
        elif self.scenario.setup.state == "separate":
            state["url"] = self._store.url
        http: dict[str, Any] = {"endpoint": self._recorder.receiver.url, "timeout": "5s"}
        if self.scenario.batch:
            http["batch"] = {"max_events": 20}
        return {
            "name": self.scenario.prefix,
            "mongodb": {"url": self._servers.url},
            "state": state,
            "ha": {"lease": f"{LEASE:g}s"},
            "start": "oldest",
            "databases": {self._database: {}},
            "checkpoint": {"interval": "500ms"},
            "pipeline": [{"name": "http", "config": http, "retry": RETRY}],
        }

    def _clean(self) -> None:
        for servers in {self._servers, self._store}:
            with MongoClient[dict[str, Any]](servers.url) as client:
                for name in client.list_database_names():
                    if name.startswith(self.scenario.prefix):
                        client.drop_database(name)
