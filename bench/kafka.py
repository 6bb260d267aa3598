"""Publishing to Kafka, with the client's linger (`linger.ms: 2`) and as it is by default: latency when quiet, and a
backlog."""

from __future__ import annotations

import re
import threading
import time
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from bench import backlog
from bench.brokers import Counted, counting_kafka, targets
from bench.drain import Run, drain, show
from bench.figures import median, progress, spread, table
from bench.options import Options
from bench.process import python
from bench.relay import RelayProcess
from mess.demo.replica_set import ReplicaSet
from mess.demo.screen import percentiles
from tests.servers.kafka import KafkaServer

_RATE = 200
_WARM_UP = 2.0
_DATABASE = "quiet"
_SENT = re.compile(rb'"sent": ?([0-9.]+)')
_LINGER = "linger.ms: 2"
_WAYS: dict[str, dict[str, Any]] = {"relay": {}, _LINGER: {"kafka": {"config": {"linger.ms": 2}}}}


class Quiet(NamedTuple):
    """A latency run: percentiles in milliseconds, CPU in µs per event."""

    p50: float
    p99: float
    cpu: float


def run(options: Options) -> None:
    """Measure and print."""
    quiet: dict[str, list[Quiet]] = {name: [] for name in _WAYS}
    runs: dict[str, list[Run]] = {name: [] for name in _WAYS}
    oplog = 990 + options.events * 700 // 1_000_000
    with ReplicaSet(oplog_mb=oplog, cache_gb=1) as replica_set, KafkaServer() as server:
        progress(f"kafka: writing {options.events:,} orders")
        size = backlog.insert(replica_set.url, options.events)
        for number in range(options.rounds):
            progress(f"kafka: round {number + 1} of {options.rounds}")
            for name, more in _WAYS.items():
                quiet[name].append(_latency(replica_set.url, server, more, options.seconds))
                runs[name].append(_backlog(replica_set.url, server, more, options.events))
    table(
        f"Kafka: latency at {_RATE} events/s, {options.seconds:g} s, medians of {options.rounds} interleaved rounds",
        ["", "p50 ms", "p99 ms", "CPU µs/event"],
        [[name, *(spread(column, 1) for column in zip(*found, strict=True))] for name, found in quiet.items()],
        "From just before the insert was sent to the receipt by a consumer. Median of the rounds' ratios of the p50: "
        f"{median(a.p50 / b.p50 for a, b in zip(quiet['relay'], quiet[_LINGER], strict=True)):.2f}",
    )
    title = f"Kafka: {options.events:,} events of {size} bytes, medians of {options.rounds} interleaved rounds"
    show(title, runs, {"of linger": (_LINGER, runs)}, "The receiver is the broker, on the same machine.")


def _step(server: KafkaServer, target: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"name": "queue", "config": {"url": server.url, "target": target, **more}}


def _backlog(url: str, server: KafkaServer, more: dict[str, Any], events: int) -> Run:
    target = next(targets)
    with counting_kafka(server, target) as count:
        return drain(url, [_step(server, target, more)], Counted(server.pid, count), events)


def _latency(url: str, server: KafkaServer, more: dict[str, Any], seconds: float) -> Quiet:
    target = next(targets)
    server.create(target)
    config: dict[str, Any] = {"name": target, "mongodb": {"url": url}, "databases": {_DATABASE: {}}}
    config["pipeline"] = [_step(server, target, more)]
    with RelayProcess(config) as relay, _Reader(server, target) as reader:
        relay.ready()
        with python("bench.writer", url, _DATABASE, str(_RATE)) as writer:
            time.sleep(_WARM_UP)
            reader.latencies.clear()
            before = relay.cpu_seconds
            time.sleep(seconds)
            used, latencies = relay.cpu_seconds - before, list(reader.latencies)
            writer.communicate()
    relay.remove()
    if len(latencies) < 0.95 * _RATE * seconds:
        progress(f"kafka: only {len(latencies) / seconds:.0f} events/s received")
    p50, p99 = percentiles(latencies, (50, 99))
    return Quiet(p50, p99, used / len(latencies) * 1e6)


class _Reader:
    """Reads a topic while it is open, and keeps how long each record took since its `"sent"`, in milliseconds."""

    def __init__(self, server: KafkaServer, topic: str) -> None:
        settings = {"bootstrap.servers": server.address, "group.id": "bench", "log_level": 0}
        self.latencies: list[float] = []
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(server.PARTITIONS)])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self._ended.is_set():
            record = self._consumer.poll(0.1)
            arrived = time.time()
            if record is not None and record.error() is None and (sent := _SENT.search(record.value() or b"")):
                self.latencies.append((arrived - float(sent[1])) * 1000)

    def __enter__(self) -> _Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._consumer.close()
