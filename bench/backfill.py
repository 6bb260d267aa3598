"""A backfill, beside 500 changes a second: how fast it is, and what it costs the changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import backlog
from bench.drain import Run, of, ratio, relay
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import python
from bench.relay import http_step
from bench.sink import Sink
from mess.demo.replica_set import ReplicaSet
from mess.demo.screen import percentiles

_RATE = 500
_LIVE = "live"
_WARM_UP = 2.0
_OPLOG_BYTES_MORE = 500  # an entry's, beyond those of its document


@dataclass(frozen=True)
class _Round:
    """`alone` and `beside` are the p50 and p99 of the changes' latency without and with the backfill, in ms."""

    drain: Run
    backfill: Run
    alone: list[float]
    beside: list[float]


def run(options: Options) -> None:
    """Measure and print."""
    count, size = options.documents, options.size
    oplog = 990 + count * (size + _OPLOG_BYTES_MORE) // 1_000_000
    with ReplicaSet(oplog_mb=oplog, cache_gb=1) as replica_set, Sink() as sink:
        progress(f"backfill: writing {count:,} documents of {size:,} bytes")
        backlog.insert(replica_set.url, count, backlog.sized(size))
        rounds = []
        for number in range(options.rounds):
            progress(f"backfill: round {number + 1} of {options.rounds}")
            drained = _drain(replica_set.url, sink, count)
            rounds.append(_backfill(replica_set.url, sink, count, options.seconds, drained))
    _print(rounds, options)


def _drain(url: str, sink: Sink, count: int) -> Run:
    """The inserts of the same documents, from the oplog."""
    with _writing(url), relay(url, [http_step(sink.url("mixed"), batch=True)]) as process:
        sink.reset(process.pid, count)
        run = of(sink.wait(count, process.process, timeout=1800), process.peak_mb)
    process.remove()
    return run


def _backfill(url: str, sink: Sink, count: int, seconds: float, drained: Run) -> _Round:
    with (
        _writing(url),
        relay(url, [http_step(sink.url("mixed"), batch=True)], start="now") as process,
    ):
        process.ready()
        time.sleep(_WARM_UP)
        sink.reset()
        time.sleep(seconds)
        alone = percentiles(sink.stats()["latencies"], (50, 99))
        sink.reset(process.pid, count)
        process.command("backfill", "start", f"{backlog.DATABASE}.{backlog.COLLECTION}")
        stats = sink.wait(count, process.process, timeout=1800)
        peak = process.peak_mb
    process.remove()
    return _Round(drained, of({**stats, "events": count}, peak), alone, percentiles(stats["latencies"], (50, 99)))


@contextmanager
def _writing(url: str) -> Iterator[None]:
    with python("bench.writer", url, backlog.DATABASE, str(_RATE), _LIVE) as writer:
        yield
        writer.communicate()


def _print(rounds: list[_Round], options: Options) -> None:
    title = (
        f"Backfill: {options.documents:,} documents of {options.size:,} bytes, 500 a POST, beside {_RATE} writes/s; "
        f"medians of {options.rounds} interleaved rounds"
    )
    drains, backfills = [each.drain for each in rounds], [each.backfill for each in rounds]
    rows = [
        _row("their inserts, from the oplog", drains, drains),
        _row("backfill", backfills, drains),
    ]
    columns = ["", "documents/s", "of their inserts", "CPU µs/document", "of theirs", "peak MB", "receiver busy"]
    table(title, columns, rows)
    found = {"without a backfill": [each.alone for each in rounds], "with one": [each.beside for each in rounds]}
    latencies = [
        [
            name,
            *(spread([row[index] for row in of_row], 1) for index in (0, 1)),
            *(
                f"{median(row[index] / each.alone[index] for row, each in zip(of_row, rounds, strict=True)):.2f}"
                for index in (0, 1)
            ),
        ]
        for name, of_row in found.items()
    ]
    table("Latency of the writes meanwhile", ["", "p50 ms", "p99 ms", "p50 of without", "p99 of without"], latencies)


def _row(name: str, runs: list[Run], bases: list[Run]) -> list[str]:
    return [
        name,
        spread([run.rate for run in runs]),
        ratio(runs, bases),
        f"{median(run.cpu for run in runs):.1f}",
        f"{median(run.cpu / base.cpu for run, base in zip(runs, bases, strict=True)):.2f}",
        f"{median(run.peak_mb for run in runs):.0f}",
        f"{median(run.busy or 0 for run in runs):.0%}",
    ]
