"""How the cost of an event grows with its size, and the rate with the number of deliveries at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import backlog
from bench.drain import Run, drain, limit, ratio
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.relay import http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_SIZES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "0.5 KB": (backlog.order, 1),
    "4 KB": (backlog.medium, 5),
    "64 KB, one string": (backlog.big_string, 50),
    "64 KB, many fields": (backlog.field_rich, 50),
}
"""What the documents are, and by how much fewer there are of them."""
_LANES = (1, 4, 16, 64)
_SLOW_EVENTS = 20  # events in a lane, for each round


def run(options: Options) -> None:
    """Measure and print."""
    _sizes(options)
    _concurrency(options)


def _sizes(options: Options) -> None:
    rows = []
    for name, (make, fewer) in _SIZES.items():
        count = options.events // fewer
        with ReplicaSet(oplog_mb=990 + options.events * 2000 // 1_000_000, cache_gb=1) as replica_set, Sink() as sink:
            progress(f"growth: writing {count:,} documents of {name}")
            size = backlog.insert(replica_set.url, count, make)
            limits: list[Run] = []
            ways: dict[str, list[Run]] = {"batch": [], "single": []}
            for number in range(options.rounds):
                progress(f"growth: {name}, round {number + 1} of {options.rounds}")
                limits.append(limit(replica_set.url, count))
                for way, runs in ways.items():
                    step = http_step(sink.url(way), batch=way == "batch")
                    runs.append(drain(replica_set.url, [step], sink, count))
        cells = [cell for runs in ways.values() for cell in _cells(runs, limits)]
        rows.append([name, f"{size:,}", spread([each.rate for each in limits]), *cells])
    columns = ["", "event bytes", "limit, events/s"]
    for way in ("500 a POST", "one POST each"):
        columns += [f"{way}: events/s", "of limit", "CPU µs/event"]
    table(f"Growth with the event's size, medians of {options.rounds} interleaved rounds", columns, rows)


def _cells(runs: list[Run], limits: list[Run]) -> list[str]:
    return [f"{median(run.rate for run in runs):,.0f}", ratio(runs, limits), f"{median(run.cpu for run in runs):.1f}"]


def _concurrency(options: Options) -> None:
    found: dict[int, list[Run]] = {lanes: [] for lanes in _LANES}
    with ReplicaSet(cache_gb=1) as replica_set, Sink() as sink:
        backlog.insert(replica_set.url, max(_LANES) * 50 * _SLOW_EVENTS)
        for number in range(options.rounds):
            progress(f"growth: concurrency, round {number + 1} of {options.rounds}")
            for lanes, runs in found.items():
                step = http_step(sink.url("slow"))
                runs.append(drain(replica_set.url, [step], sink, lanes * 50 * _SLOW_EVENTS, concurrency=lanes))
    rows = [
        [
            str(lanes),
            spread([run.rate for run in runs]),
            f"{median(run.rate for run in runs) / (lanes * 50):.0%}",
            f"{median(run.cpu for run in runs):.0f}",
            f"{median(run.peak_mb for run in runs):.0f}",
        ]
        for lanes, runs in found.items()
    ]
    columns = ["concurrency", "events/s", "of what 20 ms allow", "CPU µs/event", "peak MB"]
    table("One POST each, to an endpoint that takes 20 ms", columns, rows)
