"""How the cost of an event grows with the number of databases and collections that are watched."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench import backlog
from bench.drain import Run, drain, ratio
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.relay import http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_SCOPES = ((1, 1), (1, 50), (1, 500), (10, 1), (10, 50))
"""How many databases, with how many collections each; each collection has an entry of its own in the config."""


def run(options: Options) -> None:
    """Measure and print."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        step = http_step(sink.url("batch"), batch=True)
        urls: dict[tuple[int, int], tuple[str, dict[str, Any]]] = {}
        for databases, collections in _SCOPES:
            # Each on a server of its own: what a stream must not see costs MongoDB time, too.
            oplog = 990 + options.events * 700 // 1_000_000
            replica_set = stack.enter_context(ReplicaSet(oplog_mb=oplog, cache_gb=1))
            progress(f"scopes: writing {options.events:,} orders to {databases} x {collections} collections")
            names = {
                f"bench-{number}": [f"orders-{each}" for each in range(collections)] for number in range(databases)
            }
            backlog.scatter(replica_set.url, options.events, names)
            config: dict[str, Any] = {
                name: {"collections": {each: {} for each in inner}} for name, inner in names.items()
            }
            urls[databases, collections] = replica_set.url, config
        found: dict[tuple[int, int], list[Run]] = {scope: [] for scope in _SCOPES}
        for number in range(options.rounds):
            progress(f"scopes: round {number + 1} of {options.rounds}")
            for scope, (url, config) in urls.items():
                found[scope].append(drain(url, [step], sink, options.events, databases=config))
    rows = [_row(scope, runs, found[_SCOPES[0]]) for scope, runs in found.items()]
    columns = ["databases", "collections each", "events/s", "of one collection", "CPU µs/event", "of one", "peak MB"]
    table(
        f"Growth with databases and collections, 500 a POST, medians of {options.rounds} interleaved rounds",
        columns,
        rows,
    )


def _row(scope: tuple[int, int], runs: list[Run], first: list[Run]) -> list[Any]:
    growth = median(run.cpu / base.cpu for run, base in zip(runs, first, strict=True))
    return [
        *map(str, scope),
        spread([run.rate for run in runs]),
        ratio(runs, first),
        f"{median(run.cpu for run in runs):.1f}",
        f"{growth:.2f}",
        f"{median(run.peak_mb for run in runs):.0f}",
    ]
