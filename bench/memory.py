"""The most memory that the relay holds: a long backlog, a sink that is down, large events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import bson

from bench import backlog
from bench.figures import progress, table
from bench.options import Options
from bench.relay import RelayProcess, http_step
from bench.sink import Sink
from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet

_OPLOG_BYTES_MORE = 300  # an entry's, beyond those of its change event
_DOWN_READY = 3.0

Make = Callable[[int], dict[str, Any]]


def run(options: Options) -> None:
    """Measure and print."""
    usual, big = options.backlog, options.big
    rows = [
        *_rows(f"{usual:,} events", usual, backlog.order, options),
        *_rows(f"{big:,} events of 64 KB, one string", big, backlog.big_string, options),
        *_rows(f"{big:,} events of 64 KB, many fields", big, backlog.field_rich, options),
    ]
    columns = ["", "event bytes", "one POST each", "500 a POST", f"sink down, {options.down_seconds:g} s"]
    table("Memory: the relay's peak (VmHWM), MB of 10^6 bytes", columns, rows)


def _rows(name: str, count: int, make: Make, options: Options) -> list[list[str]]:
    sample = len(bson.encode(make(0))) + _OPLOG_BYTES_MORE
    with ReplicaSet(oplog_mb=990 + count * sample * 2 // 1_000_000, cache_gb=1) as replica_set, Sink() as sink:
        progress(f"memory: writing {name}")
        size = backlog.insert(replica_set.url, count, make)
        peaks = []
        for path in ("single", "batch"):
            progress(f"memory: {name}, {path}")
            with _relay(replica_set.url, sink.url(path), path) as relay:
                sink.reset()
                sink.wait(count, relay.process, timeout=1800)
                peaks.append(relay.peak_mb)
            relay.remove()
        progress(f"memory: {name}, sink down")
        with _relay(replica_set.url, f"http://127.0.0.1:{free_port()}/", "down") as relay:
            time.sleep(_DOWN_READY + options.down_seconds)
            peaks.append(relay.peak_mb)
        relay.remove()
    return [[name, f"{size:,}", *(f"{peak:.0f}" for peak in peaks)]]


def _relay(url: str, endpoint: str, name: str) -> RelayProcess:
    return RelayProcess(
        {
            "name": f"memory-{name}",
            "mongodb": {"url": url},
            "start": "oldest",
            "databases": {backlog.DATABASE: {}},
            "pipeline": [http_step(endpoint, batch=name == "batch")],
        }
    )
