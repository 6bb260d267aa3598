"""From starting the command to the first event, which was waiting behind a checkpoint, at the receiver."""

from __future__ import annotations

import time
from typing import Any

from pymongo import MongoClient

from bench.backlog import COLLECTION, DATABASE, order
from bench.figures import progress, spread, table
from bench.options import Options
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet


def run(options: Options) -> None:
    """Measure and print."""
    found: list[float] = []
    with (
        ReplicaSet() as replica_set,
        Sink() as sink,
        MongoClient[dict[str, Any]](replica_set.url) as client,
    ):
        config = {
            "mongodb": {"url": replica_set.url},
            "databases": {DATABASE: {}},
            "pipeline": [http_step(sink.url("single"))],
        }
        relay = RelayProcess(config)
        with relay:
            relay.ready()
        for number in range(options.rounds):
            progress(f"start-up: round {number + 1} of {options.rounds}")
            client[DATABASE][COLLECTION].insert_one(order(number))
            sink.reset()
            began = time.monotonic()
            with relay:
                found.append(sink.wait(1, relay.process, timeout=30)["first"] - began)
        relay.remove()
    table(
        f"Start-up: exec to the first waiting event received, median of {options.rounds}",
        ["", "seconds"],
        [["relay", spread(found, 2)]],
    )
