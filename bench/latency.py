"""From commit to received, at 500 events a second, one POST per event."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from bench.backlog import DATABASE
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import python
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet
from mess.demo.screen import percentiles

_RATE = 500
_WARM_UP = 2.0
_BARE = "bare getMore → POST loop"

Measure = Callable[[str, Sink, float], list[float]]


def run(options: Options) -> None:
    """Measure and print."""
    measures: dict[str, Callable[[str, Sink, float], list[float]]] = {
        "relay": _relay,
        "bare getMore → POST loop": _bare,
    }
    found: dict[str, list[list[float]]] = {name: [] for name in measures}
    with ReplicaSet(oplog_mb=990, cache_gb=1) as replica_set, Sink() as sink:
        for number in range(options.rounds):
            progress(f"latency: round {number + 1} of {options.rounds}")
            for name, measure in measures.items():
                found[name].append(percentiles(measure(replica_set.url, sink, options.seconds), (50, 99)))
    bare = found[_BARE]

    def ratio(rows: list[list[float]], index: int) -> str:
        return f"{median(row[index] / base[index] for row, base in zip(rows, bare, strict=True)):.2f}"

    table(
        f"Latency: {_RATE} events/s, one POST per event, {options.seconds:g} s, medians of {options.rounds} "
        "interleaved rounds",
        ["", "p50 ms", "p99 ms", "p50 of bare", "p99 of bare"],
        [
            [name, *(spread([row[i] for row in rows], 1) for i in (0, 1)), *(ratio(rows, i) for i in (0, 1))]
            for name, rows in found.items()
        ],
        "From just before the insert was sent (so, a little before the commit) to the receipt of the whole webhook.",
    )


def _relay(url: str, sink: Sink, seconds: float) -> list[float]:
    config = {
        "name": f"latency-{time.monotonic_ns()}",
        "mongodb": {"url": url},
        "databases": {DATABASE: {}},
        "pipeline": [http_step(sink.url("latency"))],
    }
    with RelayProcess(config) as relay:
        relay.ready()
        latencies = _measure(url, sink, seconds)
    relay.remove()
    return latencies


def _bare(url: str, sink: Sink, seconds: float) -> list[float]:
    with python("bench.bare_relay", url, DATABASE, sink.url("latency")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        latencies = _measure(url, sink, seconds)
        process.communicate()
    return latencies


def _measure(url: str, sink: Sink, seconds: float) -> list[float]:
    with python("bench.writer", url, DATABASE, str(_RATE)) as writer:
        time.sleep(_WARM_UP)
        sink.reset()
        time.sleep(seconds)
        latencies: list[float] = sink.stats()["latencies"]
        output, _ = writer.communicate()
    report = orjson.loads(output)
    rate = report["count"] / report["seconds"]
    if rate < 0.98 * _RATE or len(latencies) < 0.95 * _RATE * seconds:
        progress(f"latency: only {rate:.0f} events/s written, {len(latencies) / seconds:.0f} received")
    return latencies
