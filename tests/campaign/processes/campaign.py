"""Scenarios of several processes, on servers that are started when they are first needed."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mess.demo.replica_set import ReplicaSet
from tests.campaign.processes.setups import StandbyScenario, standby_scenario
from tests.campaign.processes.standby import StandbyPlayer
from tests.campaign.processes.workers import ManyPartitions, WorkersPlayer, WorkersScenario, workers_scenario
from tests.checker.verdict import Verdict
from tests.servers.kafka import KafkaServer
from tests.servers.network import Network, can_have_namespaces


class ProcessCampaign:
    """Plays scenarios of one `kind`: `standby` or `kafka-workers`. Used as `with`; prints figures in the end.

    `setup`, `fault` and `rounds` are as in `standby_scenario`, `down` as in `workers_scenario`.
    """

    def __init__(
        self,
        kind: str,
        *,
        setup: str | None,
        fault: str | None,
        rounds: int,
        down: float,
        verbose: bool,
    ) -> None:
        self._kind = kind
        self._setup = setup
        self._fault = fault
        self._rounds_each = rounds
        self._down = down
        self._say: Callable[[str], Any] = (lambda line: print(line, flush=True)) if verbose else lambda line: None
        self._stack = ExitStack()
        self._sets: dict[Any, ReplicaSet] = {}
        self._network: Network | None = None
        self._broker: KafkaServer | None = None
        self._namespaces = can_have_namespaces()
        self._rounds: Counter[str] = Counter()
        self._times: defaultdict[str, list[float]] = defaultdict(list)

    def play(self, seed: int) -> Verdict:
        """Play a seed's scenario, and print what came of it."""
        chosen = self._scenario(seed)
        print(f"seed {seed}: {chosen}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix=f"mess-campaign-{seed}-"))
        began = time.monotonic()
        try:
            verdict = self._play(chosen, folder)
        except Exception:  # whatever it is, the next scenario may find something
            verdict = Verdict(problems={"the campaign itself": [traceback.format_exc()]})
        word = "ok" if verdict.ok else "FAILED"
        print(f"  {word} after {time.monotonic() - began:.0f} s: {verdict}", flush=True)
        if verdict.ok:
            shutil.rmtree(folder)
        else:
            print(f"  configs and logs: {folder}", flush=True)
        return verdict

    def _scenario(self, seed: int) -> StandbyScenario | WorkersScenario:
        if self._kind == "standby":
            return standby_scenario(seed, self._setup, self._fault, self._rounds_each, namespaces=self._namespaces)
        return workers_scenario(seed, self._fault, self._rounds_each, self._down)

    def _play(self, chosen: StandbyScenario | WorkersScenario, folder: Path) -> Verdict:
        player = self._player(chosen, folder)
        try:
            return asyncio.run(player.play())
        finally:
            for fault in player.happened:
                self._rounds[f"{chosen.name}: {fault}"] += 1
            for name, times in player.times.items():
                self._times[f"{chosen.name}: {name}"] += times

    def _player(self, chosen: StandbyScenario | WorkersScenario, folder: Path) -> StandbyPlayer | WorkersPlayer:
        if isinstance(chosen, WorkersScenario):
            self._broker = self._broker or self._stack.enter_context(ManyPartitions())
            return WorkersPlayer(chosen, self._set(1, "127.0.0.1"), self._broker, folder, self._say)
        setup, network = chosen.setup, None
        if setup.network:
            self._network = self._network or self._stack.enter_context(Network())
            network = self._network
        servers = self._set(setup.nodes, network.database if network else "127.0.0.1")
        store = self._set(1, "separate") if setup.state == "separate" else servers
        return StandbyPlayer(chosen, servers, store, folder, self._say, network)

    def _set(self, nodes: int, place: str) -> ReplicaSet:
        key = (nodes, place)
        if key not in self._sets:
            host = {} if place == "separate" else {"host": place}
            self._sets[key] = self._stack.enter_context(ReplicaSet(nodes, oplog_mb=512, **host))
        return self._sets[key]

    def __enter__(self) -> ProcessCampaign:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for name, count in sorted(self._rounds.items()):
            print(f"{count:5} rounds  {name}")
        for name, times in sorted(self._times.items()):
            middle, most = statistics.median(times), max(times)
            print(f"{name}: {middle:.2f} s in the median, at most {most:.2f} s, {len(times)} times")
