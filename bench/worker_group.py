"""Workers: processes that deliver from a topic which MESS's queue step has filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bench import backlog
from bench.brokers import Counted, counting_kafka, targets
from bench.drain import relay
from bench.relay import RelayProcess
from mess.demo.replica_set import ReplicaSet
from tests.servers.kafka import KafkaServer


class Kafka(KafkaServer):
    """A broker whose topics can be shared evenly by one, two, three, four and eight workers."""

    PARTITIONS = 24


@dataclass(frozen=True)
class Topic:
    """The change events of one database."""

    database: str
    name: str
    events: int


def fill(replica_set: ReplicaSet, server: Kafka, events: int, database: str | None = None) -> Topic:
    """A new topic with the events of so many orders, of a new database or of one that has them already."""
    name = next(targets)
    if database is None:
        database = name
        backlog.insert(replica_set.url, events, database=database)
    step = {"name": "queue", "config": {"url": server.url, "target": name, "json": "canonical"}}
    with counting_kafka(server, name) as count, relay(replica_set.url, [step], databases={database: {}}) as capture:
        Counted(server.pid, count).wait(events, capture.process)
    capture.remove()
    return Topic(database, name, events)


def worker(replica_set: ReplicaSet, server: Kafka, topic: Topic, step: dict[str, Any], **options: Any) -> RelayProcess:
    """A member of the topic's group; `options` may name another one."""
    group = options.pop("group", topic.name)
    source = {"kafka": {"url": server.url, "topics": [topic.name], "group": group}}
    config: dict[str, Any] = {"name": group, "source": source, "state": {"url": replica_set.url}}
    return RelayProcess({**config, "databases": {topic.database: {}}, "pipeline": [step], **options})


@contextmanager
def running(workers: list[RelayProcess]) -> Iterator[None]:
    """Workers that run and have joined their group."""
    with ExitStack() as stack:
        for each in workers:
            stack.callback(each.remove)
            stack.enter_context(each)
        for each in workers:
            each.ready()
        yield
