"""One run: a relay that drains the backlog into a sink, and what it took."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench import backlog
from bench.figures import median, spread, table
from bench.process import result
from bench.relay import RelayProcess

LIMIT = "limit: getMore, nothing decoded"
_runs = itertools.count()


class Receiver(Protocol):
    """Where events go, and what measures them; `bench.sink.Sink` tells what its methods mean."""

    def reset(self, pid: int | None = None, expect: int | None = None) -> None: ...
    def wait(self, events: int, alive: subprocess.Popen[bytes] | None = None) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Run:
    """One row's figures in one round: CPU in µs per event (None: not known), memory in MB."""

    rate: float
    cpu: float
    receiver_cpu: float | None
    busy: float | None
    peak_mb: float


def limit(url: str, events: int) -> Run:
    """What MongoDB hands out when nothing is decoded and nothing is sent."""
    report = result("bench.limit", url, backlog.DATABASE, str(events))
    return Run(events / report["seconds"], report["cpu"] / events * 1e6, None, None, report["peak_mb"])


def relay(url: str, pipeline: list[dict[str, Any]], **options: Any) -> RelayProcess:
    """A relay that was never there before, so that each run drains the same events."""
    name = f"bench-{os.getpid()}-{next(_runs)}"
    config = {"name": name, "mongodb": {"url": url}, "start": "oldest", "databases": {backlog.DATABASE: {}}}
    return RelayProcess({**config, "pipeline": pipeline, **options})


def drain(url: str, pipeline: list[dict[str, Any]], sink: Receiver, events: int, **options: Any) -> Run:
    """Let a relay send the backlog's first `events` to `sink`."""
    with relay(url, pipeline, **options) as process:
        sink.reset(process.pid, events)
        stats = sink.wait(events, process.process)
        peak = process.peak_mb
    process.remove()
    return of(stats, peak)


def of(stats: dict[str, Any], peak_mb: float) -> Run:
    """A run from what the receiver measured."""
    seconds, events = stats["seconds"], stats["events"]
    used = stats["receiver_cpu"]
    return Run(events / seconds, stats["cpu"] / events * 1e6, used / events * 1e6, used / seconds, peak_mb)


def ratio(runs: Sequence[Run], bases: Sequence[Run]) -> str:
    """How fast runs were beside others, round by round; the median."""
    return f"{median(run.rate / base.rate for run, base in zip(runs, bases, strict=True)):.2f}"


def show(
    title: str, runs: Mapping[str, list[Run]], ratios: Mapping[str, tuple[str, Collection[str]]], note: str = ""
) -> None:
    """Print each row's medians. `ratios` are columns: the row that is 1, and the rows that are compared with it."""
    rows = [
        [
            name,
            spread([run.rate for run in of_row]),
            *(ratio(of_row, runs[to]) if name in among else "" for to, among in ratios.values()),
            f"{median(run.cpu for run in of_row):.1f}",
            f"{median(run.peak_mb for run in of_row):.0f}",
            "" if of_row[0].receiver_cpu is None else f"{median(run.receiver_cpu or 0 for run in of_row):.1f}",
            "" if of_row[0].busy is None else f"{median(run.busy or 0 for run in of_row):.0%}",
        ]
        for name, of_row in runs.items()
    ]
    columns = ["", "events/s", *ratios, "CPU µs/event", "peak MB", "receiver µs/event", "receiver busy"]
    table(title, columns, rows, note)
