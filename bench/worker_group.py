"""Workers: processes that deliver from a topic which MESS's queue step has filled."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bench import backlog
from bench.brokers import Counted, counting_kafka, targets
from bench.drain import relay
from bench.relay import RelayProcess
from mess.demo.replica_set import ReplicaSet
from tests.servers.kafka import KafkaServer

BSON = {"format": "bson"}
"""How the queue step writes the events by default."""
_DEAL_SECONDS = 60.0


class Kafka(KafkaServer):
    """A broker whose topics can be shared evenly by one, two, three, four and eight workers."""

    PARTITIONS = 24


@dataclass(frozen=True)
class Topic:
    """A topic for the change events of one database. `fill` sends them, and returns when all are there."""

    database: str
    name: str
    events: int
    fill: Callable[[], None]


@contextmanager
def empty_topic(
    replica_set: ReplicaSet,
    server: Kafka,
    events: int,
    database: str | None = None,
    *,
    written: Mapping[str, str] = BSON,
) -> Iterator[Topic]:
    """A new topic for the events of so many orders, of a new database or of one that has them already. `written` are
    options of the queue step."""
    name = next(targets)
    if database is None:
        database = name
        backlog.insert(replica_set.url, events, database=database)
    step = {"name": "queue", "config": {"url": server.url, "target": name, **written}}
    with counting_kafka(server, name) as count:

        def fill() -> None:
            with relay(replica_set.url, [step], databases={database: {}}) as capture:
                Counted(server.pid, count).wait(events, capture.process)
            capture.remove()

        yield Topic(database, name, events, fill)


def worker(replica_set: ReplicaSet, server: Kafka, topic: Topic, step: dict[str, Any], group: str = "") -> RelayProcess:
    """A member of a group, by default the topic's own."""
    group = group or topic.name
    source = {"kafka": {"url": server.url, "topics": [topic.name], "group": group}}
    config: dict[str, Any] = {"name": group, "source": source, "state": {"url": replica_set.url}}
    return RelayProcess({**config, "databases": {topic.database: {}}, "pipeline": [step]})


@contextmanager
def running(workers: list[RelayProcess]) -> Iterator[None]:
    """Workers that run, and that have the same number of partitions each."""
    with ExitStack() as stack:
        for each in workers:
            stack.callback(each.remove)
            stack.enter_context(each)
        for each in workers:
            each.ready()
        deadline = time.monotonic() + _DEAL_SECONDS
        while {_partitions(each) for each in workers} != {Kafka.PARTITIONS // len(workers)}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"partitions of the workers: {[_partitions(each) for each in workers]}")
            time.sleep(0.2)
        yield


def _partitions(each: RelayProcess) -> int:
    with urllib.request.urlopen(f"{each.url}/status", timeout=_DEAL_SECONDS) as response:
        return len(json.load(response)["group"]["assigned"])
