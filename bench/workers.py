"""Workers of a consumer group: how their number and their source change the rate."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import NamedTuple

from bench import backlog
from bench.drain import Run, drain, of, show
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.relay import http_step
from bench.sink import Sink
from bench.worker_group import BSON, Kafka, Topic, empty_topic, running, worker
from mess.demo.replica_set import ReplicaSet

_FEW, _FEW_CONCURRENCY = (1, 3), 16
_MANY, _MANY_CONCURRENCY = (1, 2, 4, 8), 4
_DELAY = 0.02  # of the receiver's `/slow`
_SPARE = 10.0  # seconds; how long filling the topic may take, and more
_MONGODB = "from MongoDB"
_WRITTEN = {"from Kafka, BSON": BSON, "from Kafka, canonical JSON": {"json": "canonical"}}
_groups = (f"bench-group-{number}" for number in itertools.count())


class Rate(NamedTuple):
    """Events per second of all workers together, CPU in µs per event, and how many events came twice."""

    rate: float
    cpu: float
    repeated: int


def run(options: Options) -> None:
    """Measure and print."""
    oplog = 990 + options.events * 700 // 1_000_000
    with ReplicaSet(oplog_mb=oplog, cache_gb=1) as replica_set, Kafka() as server, Sink() as sink:
        _compare_numbers(replica_set, server, sink, options)
        _compare_sources(replica_set, server, sink, options)


def _compare_numbers(replica_set: ReplicaSet, server: Kafka, sink: Sink, options: Options) -> None:
    for numbers, concurrency in ((_FEW, _FEW_CONCURRENCY), (_MANY, _MANY_CONCURRENCY)):
        found: dict[int, list[Rate]] = {number: [] for number in numbers}
        for number in range(options.rounds):
            for count, rates in found.items():
                progress(f"workers: {count}, concurrency {concurrency}, round {number + 1} of {options.rounds}")
                rates.append(_slow(replica_set, server, sink, count, concurrency, options.seconds))
        one = found[1]
        table(
            f"Workers, one POST each to an endpoint that takes {_DELAY * 1000:g} ms, concurrency {concurrency} each",
            ["workers", "events/s", "of one", "for each, of what the endpoint allows", "CPU µs/event", "came twice"],
            [
                [
                    str(count),
                    spread([each.rate for each in rates]),
                    f"{median(each.rate / base.rate for each, base in zip(rates, one, strict=True)):.2f}",
                    f"{median(each.rate for each in rates) / count / (concurrency / _DELAY):.0%}",
                    f"{median(each.cpu for each in rates):.0f}",
                    str(sum(each.repeated for each in rates)),
                ]
                for count, rates in found.items()
            ],
            "Every event came.",
        )


def _slow(replica_set: ReplicaSet, server: Kafka, sink: Sink, count: int, concurrency: int, seconds: float) -> Rate:
    """Raises RuntimeError if events are lost."""
    events = int(count * concurrency / _DELAY * (seconds + _SPARE))
    # The step's option, since the pipeline's is the number of lanes of each partition.
    step = {**http_step(sink.url("slow")), "concurrency": concurrency}
    with empty_topic(replica_set, server, events) as topic:
        sink.reset(distinct=True)
        workers = [worker(replica_set, server, topic, step) for _ in range(count)]
        with running(workers):
            topic.fill()
            used, before, began = sum(each.cpu_seconds for each in workers), sink.stats()["events"], time.monotonic()
            time.sleep(seconds)
            came, passed = sink.stats()["events"] - before, time.monotonic() - began
            used = sum(each.cpu_seconds for each in workers) - used
            while (stats := sink.stats())["distinct"] < events:
                if time.monotonic() - began > 10 * seconds + 60:
                    raise RuntimeError(f"{events - stats['distinct']} of {events} events are missing")
                time.sleep(0.1)
    if stats["events"] - before - came < count:
        progress("workers: too few events for so long a run")
    return Rate(came / passed, used / came * 1e6, sink.stats()["events"] - events)


def _compare_sources(replica_set: ReplicaSet, server: Kafka, sink: Sink, options: Options) -> None:
    progress(f"workers: writing {options.events:,} orders")
    size = backlog.insert(replica_set.url, options.events)
    runs: dict[str, list[Run]] = {_MONGODB: [], **{name: [] for name in _WRITTEN}}
    step = http_step(sink.url("batch"), batch=True)
    with ExitStack() as stack:
        topics = {
            name: stack.enter_context(
                empty_topic(replica_set, server, options.events, backlog.DATABASE, written=written)
            )
            for name, written in _WRITTEN.items()
        }
        for topic in topics.values():
            topic.fill()
        for number in range(options.rounds):
            progress(f"workers: sources, round {number + 1} of {options.rounds}")
            runs[_MONGODB].append(drain(replica_set.url, [step], sink, options.events))
            for name, topic in topics.items():
                runs[name].append(_batched(replica_set, server, sink, topic))
    title = f"One worker, 500 a POST: {options.events:,} events of {size} bytes, {options.rounds} interleaved rounds"
    show(title, runs, {"of MongoDB": (_MONGODB, runs)})


def _batched(replica_set: ReplicaSet, server: Kafka, sink: Sink, topic: Topic) -> Run:
    process = worker(replica_set, server, topic, http_step(sink.url("batch"), batch=True), group=next(_groups))
    with process:
        sink.reset(process.pid, topic.events)
        stats = sink.wait(topic.events, process.process)
        peak = process.peak_mb
    process.remove()
    return of(stats, peak)
