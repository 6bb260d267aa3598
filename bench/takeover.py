"""From the end of the active process to the first event that its standby delivers, of those written afterwards."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from pymongo import MongoClient

from bench.backlog import COLLECTION, DATABASE, order
from bench.figures import progress, spread, table
from bench.options import Options
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_SETTLE = 1.5  # seconds; longer than a standby takes to look again
_PAUSE = 0.02
_PATIENCE = 60.0

_ENDS: dict[str, tuple[signal.Signals, Callable[[float], float]]] = {
    "SIGTERM": (signal.SIGTERM, lambda lease: 1.0),
    "kill -9, which a standby on the same host sees": (signal.SIGKILL, lambda lease: lease + 1),
    "frozen, or its host is lost": (signal.SIGSTOP, lambda lease: lease + 1),
}
"""The signal, and the target in seconds."""


class Member:
    """One of the two processes, with a receiver of its own, which shows who has delivered what."""

    def __init__(self, url: str, lease: float) -> None:
        self.sink = Sink()
        self._url, self._lease = url, lease
        self.relay: RelayProcess | None = None

    def start(self) -> None:
        """Start it; returns when it is active, or a standby that is ready."""
        config = {
            "name": f"takeover-{self._lease:g}",
            "mongodb": {"url": self._url},
            "databases": {DATABASE: {}},
            "ha": {"lease": f"{self._lease:g}s"},
            "pipeline": [http_step(self.sink.url("latency"))],
        }
        self.relay = RelayProcess(config)
        self.relay.__enter__()
        self.relay.ready()

    def end(self) -> None:
        """End it, whatever its state."""
        if self.relay is not None:
            self.relay.kill()
            self.relay.remove()


def run(options: Options) -> None:
    """Measure and print."""
    found: dict[str, list[float]] = {name: [] for name in _ENDS}
    with ReplicaSet() as replica_set, MongoClient[dict[str, Any]](replica_set.url) as client:
        active, standby = (Member(replica_set.url, options.lease) for _ in range(2))
        with active.sink, standby.sink:
            try:
                active.start()
                for number in range(options.rounds):
                    progress(f"takeover: round {number + 1} of {options.rounds}")
                    for name, (number_of_signal, _) in _ENDS.items():
                        standby.start()
                        found[name].append(_takeover(client, active, standby, number_of_signal))
                        active.end()
                        active, standby = standby, active
            finally:
                active.end()
                standby.end()
    table(
        f"Takeover: lease of {options.lease:g} s, medians of {options.rounds} rounds",
        ["the active process", "seconds", "target"],
        [[name, spread(seconds, 2), f"{_ENDS[name][1](options.lease):g} or less"] for name, seconds in found.items()],
        "From the signal to the receipt of an event that was written after it, from the other process.",
    )


def _takeover(client: MongoClient[dict[str, Any]], active: Member, standby: Member, signal_: signal.Signals) -> float:
    orders = client[DATABASE][COLLECTION]
    active.sink.reset()
    standby.sink.reset()
    orders.insert_one(order(0))
    active.sink.wait(1, timeout=_PATIENCE)
    time.sleep(_SETTLE)
    assert active.relay is not None
    assert active.relay.process is not None
    sent = time.time()
    active.relay.process.send_signal(signal_)
    # The process may still deliver some of them while it stops.
    while not (latencies := standby.sink.stats()["latencies"]):
        if time.time() - sent > _PATIENCE:
            raise RuntimeError(f"no takeover within {_PATIENCE:g} s")
        orders.insert_one(order(1, sent=sent))
        time.sleep(_PAUSE)
    return float(latencies[0]) / 1000
