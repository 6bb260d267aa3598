"""Draining a backlog: events per second, as ratios to the limit and to a bare aiohttp loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench import backlog
from bench.drain import LIMIT, Run, drain, limit, of, show
from bench.figures import progress
from bench.options import Options
from bench.process import python
from bench.relay import FIELD_MAP, http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet
from mess.formats import bson_json

_BODIES = 2000
_OPLOG_BYTES = 700  # of an entry, with what the disk format adds
_SLOW_EVENTS = 20_000


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
    return limit(bench.url, bench.events)


def _relay(path: str, *, field_map: bool) -> Callable[[Bench], Run]:
    def measure(bench: Bench) -> Run:
        http = http_step(bench.sink.url(path), batch=path == "batch")
        return drain(bench.url, [*([FIELD_MAP] if field_map else []), http], bench.sink, bench.events)

    return measure


def _slow(bench: Bench) -> Run:
    step = http_step(bench.sink.url("slow"))
    return drain(bench.url, [step], bench.sink, min(_SLOW_EVENTS, bench.events), concurrency=64)


def _bare(bench: Bench) -> Run:
    with python("bench.bare", bench.sink.url("single"), str(bench.bodies), str(bench.events)) as process:
        bench.sink.reset(process.pid, bench.events)
        output, _ = process.communicate(b"\n")
    return of(bench.sink.wait(bench.events, timeout=10), float(output))


_SINGLE = "relay: one POST per event"
_BARE = "bare aiohttp loop, 16 at a time"
_ROWS: dict[str, Callable[[Bench], Run]] = {
    LIMIT: _limit,
    "relay: field-map, 500 a POST": _relay("batch", field_map=True),
    "relay: 500 a POST": _relay("batch", field_map=False),
    _SINGLE: _relay("single", field_map=False),
    _BARE: _bare,
    "relay: one POST each, endpoint takes 20 ms, 64 lanes": _slow,
}


def _sample(url: str) -> list[bytes]:
    """Bodies as the relay would send them, of the oldest events."""
    with MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        oldest = client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
        assert oldest is not None
        with client[backlog.DATABASE].watch(start_at_operation_time=oldest["ts"]) as stream:
            return [bson_json.plain(next(stream)) for _ in range(_BODIES)]


def _print(runs: dict[str, list[Run]], options: Options, size: int) -> None:
    title = f"Throughput: {options.events:,} events of {size} bytes, medians of {options.rounds} interleaved rounds"
    note = (
        "Ratios are medians of each round's ratio. The receiver is a process of its own; it is not the bottleneck as "
        "long as it is busy well below 100 % of a core."
    )
    show(title, runs, {"of limit": (LIMIT, runs), "of bare": (_BARE, (_SINGLE, _BARE))}, note)
