"""How the cost of an event grows with the number of databases and collections that are watched."""

from __future__ import annotations

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
    found: dict[tuple[int, int], list[Run]] = {scope: [] for scope in _SCOPES}
    for scope in _SCOPES:
        # Each on a server of its own: what a stream must not see costs MongoDB time, too.
        with ReplicaSet(oplog_mb=990 + options.events * 700 // 1_000_000, cache_gb=1) as replica_set, Sink() as sink:
            databases, collections = scope
            progress(f"scopes: writing {options.events:,} orders to {databases} x {collections} collections")
            names = {
                f"bench-{number}": [f"orders-{each}" for each in range(collections)] for number in range(databases)
            }
            backlog.scatter(replica_set.url, options.events, names)
            config: dict[str, Any] = {
                name: {"collections": {each: {} for each in inner}} for name, inner in names.items()
            }
            step = http_step(sink.url("batch"), batch=True)
            for number in range(options.rounds):
                progress(f"scopes: round {number + 1} of {options.rounds}")
                found[scope].append(drain(replica_set.url, [step], sink, options.events, databases=config))
    rows = [_row(scope, runs, found[_SCOPES[0]]) for scope, runs in found.items()]
    columns = ["databases", "collections each", "events/s", "of one collection", "CPU µs/event", "of one", "peak MB"]
    table(f"Growth with databases and collections, 500 a POST, medians of {options.rounds} rounds", columns, rows)


def _row(scope: tuple[int, int], runs: list[Run], first: list[Run]) -> list[Any]:
    cpu, base = (median(run.cpu for run in each) for each in (runs, first))
    return [
        *map(str, scope),
        spread([run.rate for run in runs]),
        ratio(runs, first),
        f"{cpu:.1f}",
        f"{cpu / base:.2f}",
        f"{median(run.peak_mb for run in runs):.0f}",
    ]
