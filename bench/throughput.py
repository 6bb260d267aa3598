"""Draining a backlog: events per second, as ratios to the limit and to a bare aiohttp loop."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench import backlog
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import python, result
from bench.relay import FIELD_MAP, RelayProcess, http_step
from bench.sink import Sink
from mess import codec
from mess.demo.replica_set import ReplicaSet

_BODIES = 2000
_OPLOG_BYTES = 700  # of an entry, with what the disk format adds
_runs = itertools.count()


@dataclass(frozen=True)
class Run:
    """One row's figures in one round: CPU in µs per event (None: not known), memory in MB."""

    rate: float
    cpu: float
    receiver_cpu: float | None
    busy: float | None
    peak_mb: float


@dataclass(frozen=True)
class Bench:
    """What every row needs: `bodies` is a file of webhook bodies, one a line."""

    url: str
    sink: Sink
    events: int
    bodies: Path


def run(options: Options) -> None:
    """Measure and print."""
    oplog = 990 + options.events * _OPLOG_BYTES // 1_000_000
    with ReplicaSet(oplog_mb=oplog, cache_gb=1) as replica_set, Sink() as sink, tempfile.TemporaryDirectory() as folder:
        progress(f"throughput: writing {options.events:,} orders")
        size = backlog.insert(replica_set.url, options.events)
        bench = Bench(replica_set.url, sink, options.events, Path(folder, "bodies"))
        bench.bodies.write_bytes(b"\n".join(_sample(replica_set.url)))
        runs: dict[str, list[Run]] = {name: [] for name in _ROWS}
        for number in range(options.rounds):
            progress(f"throughput: round {number + 1} of {options.rounds}")
            for name, measure in _ROWS.items():
                runs[name].append(measure(bench))
        _print(runs, options, size)


def _limit(bench: Bench) -> Run:
    report = result("bench.limit", bench.url, backlog.DATABASE, str(bench.events))
    rate, cpu = bench.events / report["seconds"], report["cpu"] / bench.events * 1e6
    return Run(rate, cpu, None, None, report["peak_mb"])


def _relay(path: str, *, field_map: bool) -> Callable[[Bench], Run]:
    def measure(bench: Bench) -> Run:
        http = http_step(bench.sink.url(path), batch=path == "batch")
        config = {
            # A relay that was never there before, so that each run drains the same events.
            "name": f"bench-{os.getpid()}-{next(_runs)}",
            "mongodb": {"url": bench.url},
            "start": "oldest",
            "databases": {backlog.DATABASE: {}},
            "pipeline": [*([FIELD_MAP] if field_map else []), http],
        }
        with RelayProcess(config) as relay:
            bench.sink.reset(relay.pid, bench.events)
            stats = bench.sink.wait(bench.events, relay.process)
            peak = relay.peak_mb
        relay.remove()
        return _of(stats, peak)

    return measure


def _bare(bench: Bench) -> Run:
    with python("bench.bare", bench.sink.url("single"), str(bench.bodies), str(bench.events)) as process:
        bench.sink.reset(process.pid, bench.events)
        output, _ = process.communicate(b"\n")
    return _of(bench.sink.wait(bench.events, timeout=10), float(output))


def _of(stats: dict[str, Any], peak_mb: float) -> Run:
    seconds, events = stats["seconds"], stats["events"]
    used = stats["receiver_cpu"]
    return Run(events / seconds, stats["cpu"] / events * 1e6, used / events * 1e6, used / seconds, peak_mb)


_LIMIT = "limit: getMore, nothing decoded"
_SINGLE = "relay: one POST per event"
_BARE = "bare aiohttp loop, 16 at a time"
_ROWS: dict[str, Callable[[Bench], Run]] = {
    _LIMIT: _limit,
    "relay: field-map, 500 a POST": _relay("batch", field_map=True),
    "relay: 500 a POST": _relay("batch", field_map=False),
    _SINGLE: _relay("single", field_map=False),
    _BARE: _bare,
}


def _sample(url: str) -> list[bytes]:
    """Bodies as the relay would send them, of the oldest events."""
    with MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        oldest = client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
        assert oldest is not None
        with client[backlog.DATABASE].watch(start_at_operation_time=oldest["ts"]) as stream:
            return [codec.plain(next(stream)) for _ in range(_BODIES)]


def _print(runs: dict[str, list[Run]], options: Options, size: int) -> None:
    def ratio(name: str, to: str) -> str:
        return f"{median(run.rate / base.rate for run, base in zip(runs[name], runs[to], strict=True)):.2f}"

    rows = [
        [
            name,
            spread([run.rate for run in of_row]),
            ratio(name, _LIMIT),
            ratio(name, _BARE) if name in (_SINGLE, _BARE) else "",
            f"{median(run.cpu for run in of_row):.1f}",
            f"{median(run.peak_mb for run in of_row):.0f}",
            "" if of_row[0].receiver_cpu is None else f"{median(run.receiver_cpu or 0 for run in of_row):.1f}",
            "" if of_row[0].busy is None else f"{median(run.busy or 0 for run in of_row):.0%}",
        ]
        for name, of_row in runs.items()
    ]
    columns = ["", "events/s", "of limit", "of bare", "CPU µs/event", "peak MB", "receiver µs/event", "receiver busy"]
    title = f"Throughput: {options.events:,} events of {size} bytes, medians of {options.rounds} interleaved rounds"
    note = (
        "Ratios are medians of each round's ratio. The receiver is a process of its own; it is not the bottleneck as "
        "long as it is busy well below 100 % of a core."
    )
    table(title, columns, rows, note)
