"""Draining a backlog into brokers: events per second, as ratios to the limit of the same round."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import nats
from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench import backlog
from bench.drain import LIMIT, Run, drain, limit, show
from bench.figures import progress
from bench.options import Options
from bench.process import cpu_seconds
from mess.demo.replica_set import ReplicaSet
from tests.servers.kafka import KafkaServer
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.process import BrokerProcess, ServerMissing
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer

Counter = Callable[[], int]

_POLL = 0.01
targets = (f"bench-{number}" for number in itertools.count())
"""Names of topics and the like that were never used before."""


class Counted:
    """What has come to a broker, found out by asking it again and again; the same face as `bench.sink.Sink`.

    `count` tells how many events there are, `server` is the broker's process id.
    """

    def __init__(self, server: int, count: Callable[[], int]) -> None:
        self._server = server
        self._count = count
        self._pid = 0

    def reset(self, pid: int | None = None, expect: int | None = None) -> None:
        """Begin a measurement of the process `pid`."""
        self._pid = pid or 0

    def wait(self, events: int, alive: subprocess.Popen[bytes] | None = None, timeout: float = 600.0) -> dict[str, Any]:
        """What it took from the first events seen to the last, see `bench.receiver.Measurement.stats`.

        Raises RuntimeError when they have not come in `timeout` seconds, or when their sender ends before.
        """
        deadline = time.monotonic() + timeout
        while not (first := self._count()):
            self._go_on(deadline, alive, 0)
        begun, used = time.monotonic(), self._cpu()
        while (seen := self._count()) < events:
            self._go_on(deadline, alive, seen)
        ended = self._cpu()
        return {
            "events": seen - first,
            "seconds": time.monotonic() - begun,
            "cpu": ended[0] - used[0],
            "receiver_cpu": ended[1] - used[1],
        }

    def _cpu(self) -> tuple[float, float]:
        return cpu_seconds(self._pid), cpu_seconds(self._server)

    def _go_on(self, deadline: float, alive: subprocess.Popen[bytes] | None, seen: int) -> None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {seen} events came in time")
        if alive is not None and alive.poll() is not None:
            raise RuntimeError(f"the sender ended with exit code {alive.returncode} after {seen} events")
        time.sleep(_POLL)


@contextmanager
def _redis(server: RedisServer, target: str) -> Iterator[Counter]:
    with server.client() as client:

        def count() -> int:
            length: Any = client.xlen(target)
            return int(length)

        yield count
        client.delete(target)


@contextmanager
def counting_kafka(server: KafkaServer, target: str) -> Iterator[Counter]:
    """A new topic, and what counts its records."""
    server.create(target)
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "bench", "log_level": 0})
    partitions = [TopicPartition(target, number) for number in range(server.PARTITIONS)]

    def count() -> int:
        try:
            return sum(consumer.get_watermark_offsets(each, timeout=5)[1] for each in partitions)
        except KafkaException:
            return 0  # a partition of a new topic has no leader yet

    try:
        yield count
    finally:
        consumer.close()


@contextmanager
def _rabbitmq(server: RabbitServer, target: str) -> Iterator[Counter]:
    server.declare(target, **{"x-queue-type": "quorum"})
    with server.channel() as channel:
        yield lambda: int(channel.queue_declare(target, passive=True).method.message_count)
        channel.queue_delete(target)


@contextmanager
def _nats(server: NatsServer, target: str) -> Iterator[Counter]:
    with asyncio.Runner() as runner:
        client = runner.run(nats.connect(server.url))
        jetstream = client.jetstream()
        runner.run(jetstream.add_stream(name=target, subjects=[target]))
        yield lambda: int(runner.run(jetstream.stream_info(target)).state.messages)
        runner.run(jetstream.delete_stream(target))
        runner.run(client.close())


@contextmanager
def _mqtt(server: MosquittoServer, target: str) -> Iterator[Counter]:
    """Counted by a subscriber: a broker of MQTT keeps nothing that it could be asked about."""
    command = ["mosquitto_sub", "-p", str(server.port), "-t", target, "-F", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as subscriber:
        assert subscriber.stdout is not None
        while f" {target}" not in server.log:
            time.sleep(_POLL)
        os.set_blocking(subscriber.stdout.fileno(), False)
        seen = 0

        def count() -> int:
            nonlocal seen
            while data := subscriber.stdout and subscriber.stdout.read():
                seen += len(data)
            return seen

        try:
            yield count
        finally:
            subscriber.kill()


_BROKERS: dict[str, tuple[Callable[[], BrokerProcess], Callable[[Any, str], AbstractContextManager[Counter]]]] = {
    "Redis Streams": (lambda: RedisServer(appendfsync="everysec"), _redis),
    "Kafka": (KafkaServer, counting_kafka),
    "RabbitMQ": (RabbitServer, _rabbitmq),
    "NATS JetStream": (NatsServer, _nats),
    "MQTT": (lambda: MosquittoServer("allow_anonymous true\nlog_type subscribe"), _mqtt),
}
"""How each is started, and how the messages that came to a target of it are counted while a relay publishes."""


def run(options: Options) -> None:
    """Measure and print; a broker that is not installed has no row."""
    with ExitStack() as stack:
        oplog = 990 + options.events * 700 // 1_000_000
        replica_set = stack.enter_context(ReplicaSet(oplog_mb=oplog, cache_gb=1))
        progress(f"brokers: writing {options.events:,} orders")
        size = backlog.insert(replica_set.url, options.events)
        rows: dict[str, Callable[[], Run]] = {LIMIT: lambda: limit(replica_set.url, options.events)}
        for name, (start, counting) in _BROKERS.items():
            try:
                server = stack.enter_context(start())
            except ServerMissing as error:
                progress(f"brokers: no {name}: {error}")
            else:
                rows[f"relay: {name}"] = partial(_measure, server, counting, replica_set.url, options.events)
        runs: dict[str, list[Run]] = {name: [] for name in rows}
        for number in range(options.rounds):
            progress(f"brokers: round {number + 1} of {options.rounds}")
            for name, measure in rows.items():
                runs[name].append(measure())
        title = f"Brokers: {options.events:,} events of {size} bytes, medians of {options.rounds} interleaved rounds"
        show(title, runs, {"of limit": (LIMIT, runs)}, "The receiver is the broker, on the same machine.")


def _measure(
    server: Any, counting: Callable[[Any, str], AbstractContextManager[Counter]], url: str, events: int
) -> Run:
    target = next(targets)
    with counting(server, target) as count:
        return drain(url, [_step(server.url, target)], Counted(server.pid, count), events)


def _step(url: str, target: str) -> dict[str, Any]:
    return {"name": "queue", "config": {"url": url, "target": target}}
