"""What looking at a relay costs: draining a backlog while nobody looks, with a console open, and with many live tails;
and how long status requests take meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson

from bench import backlog
from bench.drain import Run, of, ratio, relay
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import python
from bench.relay import http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet

_OPLOG_BYTES = 700
_BUSY = 0.02  # seconds between two requests whose time is measured
_NOBODY = "nobody looks"
_ROWS: dict[str, tuple[float, int]] = {
    _NOBODY: (0.0, 0),
    "a console: its status once a second": (1.0, 0),
    "a console with a live tail": (1.0, 1),
    f"status every {_BUSY * 1000:.0f} ms": (_BUSY, 0),
    "100 live tails": (1.0, 100),
}


def run(options: Options) -> None:
    """Measure and print."""
    oplog = 990 + options.events * _OPLOG_BYTES // 1_000_000
    with ReplicaSet(oplog_mb=oplog, cache_gb=1) as replica_set, Sink() as sink:
        progress(f"admin: writing {options.events:,} orders")
        size = backlog.insert(replica_set.url, options.events)
        measures: dict[str, Callable[[], tuple[Run, list[float]]]] = {
            "admin: {enabled: false}": lambda: _drain(
                replica_set.url, sink, options.events, interval=0.0, tails=0, admin=False
            )
        }
        for name, (interval, tails) in _ROWS.items():
            measures[name] = partial(
                _drain, replica_set.url, sink, options.events, interval=interval, tails=tails, admin=True
            )
        found: dict[str, list[tuple[Run, list[float]]]] = {name: [] for name in measures}
        for number in range(options.rounds):
            progress(f"admin: round {number + 1} of {options.rounds}")
            for name, measure in measures.items():
                found[name].append(measure())
    _print(found, options, size)


def _drain(url: str, sink: Sink, events: int, *, interval: float, tails: int, admin: bool) -> tuple[Run, list[float]]:
    more = {} if admin else {"admin": {"enabled": False}}
    with relay(url, [http_step(sink.url("single"))], **more) as process:
        looker = None
        if interval or tails:
            process.listens()
            looker = python("bench.looker", process.url, str(interval), str(tails))
        sink.reset(process.pid, events)
        stats = sink.wait(events, process.process)
        peak = process.peak_mb
        seconds: list[float] = []
        if looker is not None:
            output, _ = looker.communicate(b"\n")
            if looker.returncode:
                raise RuntimeError("the looker has failed")
            seconds = orjson.loads(output)["seconds"]
    process.remove()
    return of(stats, peak), seconds


def _print(found: dict[str, list[tuple[Run, list[float]]]], options: Options, size: int) -> None:
    nobody = [run for run, _ in found[_NOBODY]]
    rows = []
    for name, measured in found.items():
        runs = [run for run, _ in measured]
        seconds = sorted(second for _, each in measured for second in each)
        late = f"{seconds[int(len(seconds) * 0.99)] * 1000:.1f}" if len(seconds) >= 100 else ""
        rows.append(
            [
                name,
                spread([run.rate for run in runs]),
                ratio(runs, nobody),
                f"{median(run.cpu for run in runs):.1f}",
                f"{median(run.peak_mb for run in runs):.0f}",
                f"{median(seconds) * 1000:.1f}" if seconds else "",
                late,
            ]
        )
    columns = ["", "events/s", "of nobody's", "CPU µs/event", "peak MB", "status p50 ms", "p99 ms"]
    title = f"Looking at a relay: {options.events:,} events of {size} bytes, one POST each, {options.rounds} rounds"
    table(title, columns, rows, "Whoever looks is another process on the same cores, and takes time from the relay.")
