"""One run: a relay that drains the backlog into a sink, and what it took."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

from bench import backlog
from bench.process import result
from bench.relay import RelayProcess
from bench.sink import Sink

_runs = itertools.count()


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


def drain(url: str, pipeline: list[dict[str, Any]], sink: Sink, events: int, **options: Any) -> Run:
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
