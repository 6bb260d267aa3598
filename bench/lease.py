"""What a lease costs: an active process with `ha`, its standby, and one without, side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from pymongo import MongoClient

from bench.backlog import DATABASE
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import cpu_seconds, python
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_RATE = 500
_SETTLE = 3.0
_ALONE, _ACTIVE, _STANDBY = "without ha", "active", "standby"
_RELAYS = {_ALONE: "alone", _ACTIVE: "pair", _STANDBY: "pair"}
_WRITES = {_ALONE: "update", _ACTIVE: "command"}
"""By what operation of MongoDB's profiler they show that they are alive."""

Client = MongoClient[dict[str, Any]]


class Cost(NamedTuple):
    """CPU in percent of a core; of those who say that they are alive, how often they do in a second."""

    cpu: float
    writes: float


def run(options: Options) -> None:
    """Measure and print."""
    found: dict[str, list[dict[str, Cost]]] = {"idle": [], f"{_RATE} events/s": []}
    with ReplicaSet(oplog_mb=990, cache_gb=1) as replica_set, Sink() as sink, Client(replica_set.url) as client:
        seconds = options.idle_seconds / options.rounds
        with _processes(replica_set.url, sink, options.lease) as processes:
            for state, rounds in found.items():
                with ExitStack() as stack:
                    if state != "idle":
                        writer = stack.enter_context(python("bench.writer", replica_set.url, DATABASE, str(_RATE)))
                        stack.callback(writer.communicate)
                    time.sleep(_SETTLE)
                    for number in range(options.rounds):
                        progress(f"lease: {state}, round {number + 1} of {options.rounds}")
                        rounds.append(_measure(client, processes, seconds))
    table(
        f"A lease of {options.lease:g} s: {options.rounds} times {seconds:g} s, all three processes at the same time",
        ["", "CPU of a core, %", "more than without ha, %", "writes to the record/s"],
        [
            [
                f"{state}: {name}",
                spread([each[name].cpu for each in rounds], 2),
                spread([each[name].cpu - each[_ALONE].cpu for each in rounds], 2) if name == _ACTIVE else "",
                f"{median(each[name].writes for each in rounds):.2f}",
            ]
            for state, rounds in found.items()
            for name in _RELAYS
        ],
        f"A fifth of the lease is one write in {options.lease / 5:g} s: {5 / options.lease:.2f}/s.",
    )


@contextmanager
def _processes(url: str, sink: Sink, lease: float) -> Iterator[dict[str, RelayProcess]]:
    with ExitStack() as stack:
        made = {}
        for process, name in _RELAYS.items():
            config: dict[str, Any] = {"name": name, "mongodb": {"url": url}, "databases": {DATABASE: {}}}
            config["pipeline"] = [http_step(sink.url("single"))]
            if process != _ALONE:
                config["ha"] = {"lease": f"{lease:g}s"}
            made[process] = relay = RelayProcess(config)
            stack.callback(relay.remove)
            stack.enter_context(relay)
            relay.ready()
        yield made


def _measure(client: Client, processes: dict[str, RelayProcess], seconds: float) -> dict[str, Cost]:
    state = client["mess"]
    state.command("profile", 1, filter={"ns": "mess.relays", "op": {"$in": list(_WRITES.values())}})
    before = {process: cpu_seconds(relay.pid) for process, relay in processes.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    used = {process: cpu_seconds(relay.pid) - before[process] for process, relay in processes.items()}
    state.command("profile", 0)
    costs = {}
    for process, relay in _RELAYS.items():
        of_relay = [{"command.q._id": relay}, {"command.query._id": relay}]
        writes = {"ns": "mess.relays", "op": _WRITES.get(process), "$or": of_relay}
        costs[process] = Cost(used[process] / passed * 100, state["system.profile"].count_documents(writes) / passed)
    state["system.profile"].drop()
    return costs
