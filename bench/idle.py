"""The CPU time of a relay that has nothing to do."""

from __future__ import annotations

import time
from typing import Any

from pymongo import MongoClient

from bench.backlog import COLLECTION, order
from bench.figures import progress, table
from bench.options import Options
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_DATABASES = 10
_SETTLE = 5.0


def run(options: Options) -> None:
    """Measure and print."""
    names = [f"idle-{number}" for number in range(_DATABASES)]
    with ReplicaSet() as replica_set, Sink() as sink:
        with MongoClient[dict[str, Any]](replica_set.url) as client:
            for name in names:
                client[name][COLLECTION].insert_one(order(0))
        config = {
            "mongodb": {"url": replica_set.url},
            "databases": {name: {} for name in names},
            "pipeline": [http_step(sink.url("single"))],
        }
        with RelayProcess(config) as relay:
            relay.ready()
            time.sleep(_SETTLE)
            progress(f"idle: {options.idle_seconds:g} s")
            before, began = relay.cpu_seconds, time.monotonic()
            time.sleep(options.idle_seconds)
            used, seconds = relay.cpu_seconds - before, time.monotonic() - began
            peak = relay.peak_mb
        relay.remove()
    table(
        f"Idle: {_DATABASES} databases watched, no events, {options.idle_seconds:g} s",
        ["", "CPU of one core", "peak MB"],
        [["relay", f"{used / seconds:.2%}", f"{peak:.0f}"]],
    )
