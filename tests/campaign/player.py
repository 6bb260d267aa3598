"""Plays a scenario against real servers, and has it judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bson import Timestamp
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.campaign.configs import COLLECTIONS, DATABASES
from tests.campaign.faults import MongoDB
from tests.campaign.keeper import RelayKeeper
from tests.campaign.letters import Letters
from tests.campaign.scenario import Fault, Scenario
from tests.campaign.sinks import Sinks
from tests.campaign.writers import HUGE, Writer
from tests.checker.committed import FENCES, Change, CommittedChanges
from tests.checker.runs import Coverage, Expectation
from tests.checker.verdict import Arrival, Verdict, check_order, judge
from tests.servers.redis import RedisServer

_DRAIN_SECONDS = 60.0
_LINGER_SECONDS = 0.7
_SETTLED_SECONDS = 1.5
"""How long nothing is written before a relay that has delivered everything is taken to have passed everything."""
_BAD_WORDS = ("Traceback (most recent call last)", "never awaited")


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
        self._sinks = Sinks(scenario, redis)
        self._targets = {"mongodb": self._mongodb, **self._sinks.targets}
        self._committed = CommittedChanges(self._url)
        self._keeper = RelayKeeper(folder, self._committed, lambda: self._mongodb.up)
        self._state = f"{scenario.prefix}state"
        self._file = folder / "state.db"
        self._letters = Letters(self._url, self._state, self._file, scenario.prefix, in_file=scenario.state == "sqlite")
        self._writers = _writers(scenario, self._url)
        self._databases = scenario.first

    async def play(self) -> Verdict:
        """Play it to its end; what the checker finds."""
        try:
            async with self._sinks, AsyncExitStack() as stack:
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
        if fault.what.endswith("take over"):
            self._rearrange(fault.databases)
            await self._keeper.take_over(self._config(), paused=fault.what.startswith("pause"))
        elif fault.what == "pause":
            self._keeper.pause()
        elif fault.what == "reload":
            pass  # it takes no time
        elif fault.what == "kill":
            await self._keeper.kill()
        else:
            if fault.what == "settle":
                await self._settle()
            await self._keeper.stop()

    async def _relay_ends(self, fault: Fault) -> None:
        if fault.what == "pause":
            self._keeper.resume()
        elif fault.what.endswith("take over"):
            await self._keeper.taken_over()
        elif fault.what == "reload":
            self._rearrange(fault.databases)
            await self._keeper.reload(self._config())
        else:
            self._rearrange(fault.databases)
            await self._keeper.start(self._config())

    def _rearrange(self, databases: dict[str, Any] | None) -> None:
        if databases is not None:
            self._databases = databases
            self._say(f"         relay starts with {self._databases}")

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
            self._rearrange(self.scenario.last)
            await self._keeper.start(self._config())
        await asyncio.sleep(1)
        await asyncio.to_thread(self._finish_writers)
        began = time.monotonic()
        moment = await self._delivered(_DRAIN_SECONDS)
        self._say(f"         drained within {time.monotonic() - began:.1f} s" if moment else "         NOT DRAINED")
        await asyncio.sleep(_LINGER_SECONDS)
        if moment is None and self._keeper.running:
            self._say(f"         /status: {(await self._keeper.relay.get('/status'))[1]}")
        await self._keeper.revive()
        letters = self._letters.find()
        if letters:
            await self._replay()
        await self._keeper.stop()
        await self._keeper.times()
        # Whether it has come that far or not, it had the time to.
        self._keeper.runs[-1].drained = moment or await asyncio.to_thread(self._committed.catch_up)
        return self._judge(await self._sinks.collect(), letters)

    async def _replay(self) -> None:
        """Have the dead letters delivered again, beside the relay; only those that no pipeline is for may stay."""
        said = await self._letters.replay(self._keeper.relay.config)
        self._say(f"         replay: {said[-300:]}")
        selection = self._keeper.runs[-1].selection
        left = self._letters.find()
        for change in self._committed.changes:
            if change.id in left and not _is_huge(change) and selection.of(change) is not None:
                self._keeper.problems.append(f"dead letter not replayed: {change}: {left[change.id]}: {said[-500:]}")

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
                changes = _missing(changes, expected, await self._sinks.collect(), self._letters.find())
                if not changes:
                    return moment
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.2)

    def _judge(self, accepted: dict[str, list[Arrival]], letters: dict[str, str]) -> Verdict:
        changes = list(self._committed.changes)  # it still records, such as what other tests write
        expectations = Coverage(self._keeper.runs).expectations(changes)
        allowed = {*self._sinks.refused, *(change.id for change in changes if _is_huge(change))}
        verdict = judge(changes, expectations, accepted, dead_letters=letters, refused=allowed)
        for endpoint in self._sinks.endpoints:
            check_order(f"{endpoint.name} (as read)", endpoint.read, changes, expectations, verdict)
        marks = {change.mark for change in changes}
        for writer in self._writers:
            if lost := writer.acknowledged - marks:
                verdict.problems["acknowledged writes that the checker has not seen"].append(str(sorted(lost)[:5]))
        for problem in self._keeper.problems:
            verdict.problems["the relay's process"].append(problem)
        text = self._keeper.text
        for word in _BAD_WORDS:
            if (at := text.find(word)) >= 0:
                verdict.problems["its log"].append(text[max(0, at - 300) : at + 1500])
        return verdict

    def _finish_writers(self) -> None:
        for writer in self._writers:
            writer.finish()

    def _clean(self) -> None:
        with MongoClient[dict[str, Any]](self._url) as client:
            for name in client.list_database_names():
                if name.startswith(self.scenario.prefix) or name == FENCES:
                    client.drop_database(name)

    def _config(self) -> dict[str, Any]:
        return self._sinks.config(self._url, self._databases, self._state, self._file)


def _writers(scenario: Scenario, url: str) -> list[Writer]:
    spaces = [(scenario.prefix + db, coll) for db in DATABASES for coll in COLLECTIONS]
    return [
        Writer(
            url,
            spaces,
            f"{scenario.seed}-{number}",
            pause=scenario.pause,
            drops=scenario.drops,
            large=scenario.large,
        )
        for number in range(scenario.writers)
    ]


def _is_huge(change: Change) -> bool:
    return str(change.mark).startswith(HUGE)


def _missing(
    changes: Sequence[Change],
    expected: dict[str, Expectation],
    accepted: dict[str, list[Arrival]],
    letters: dict[str, str],
) -> list[Change]:
    arrived = {name: {arrival.id for arrival in found} for name, found in accepted.items()}
    return [
        change
        for change in changes
        if change.id not in letters
        and not expected[change.id].met(frozenset(name for name, ids in arrived.items() if change.id in ids))
    ]
