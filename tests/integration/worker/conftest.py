"""Workers that run in this process, behind one broker that all tests share."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import Timestamp
from confluent_kafka import Consumer, Producer, TopicPartition

from mess.app import Relay
from mess.formats import bson_json
from tests.conftest import servers_needed
from tests.receiver import Receiver
from tests.servers.kafka import KafkaServer

HISTORY = Timestamp(1_700_000_000, 1)


@pytest.fixture(scope="session")
def broker() -> Iterator[KafkaServer]:
    """A broker that no test disturbs."""
    with servers_needed():
        made = KafkaServer()
    with made as server:
        yield server


@pytest.fixture(params=["consumer", "classic"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each of Kafka's group protocols."""
    return str(request.param)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Takes all webhooks."""
    async with Receiver() as receiver:
        yield receiver


class Group:
    """A topic of its own, and the workers of a group of its own that read it."""

    def __init__(self, broker: KafkaServer, folder: Path, receiver: Receiver) -> None:
        name = uuid.uuid4().hex[:8]
        self.topic, self.name = f"changes-{name}", f"group-{name}"
        self.broker = broker
        self.folder = folder
        self.receiver = receiver
        self._producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 5, "log_level": 0})
        self._written = 0
        broker.create(self.topic)

    def config(self, **options: Any) -> dict[str, Any]:
        """A worker's config; `kafka` are more options of its source."""
        kafka = options.pop("kafka", {})
        http = {"endpoint": self.receiver.url, "timeout": "5s"}
        return {
            "name": "workers",
            "source": {"kafka": {"url": self.broker.url, "topics": [self.topic], "group": self.name, **kafka}},
            "databases": {"shop": {}},
            "pipeline": [{"name": "http", "config": http}],
            "state": {"url": f"sqlite:///{self.folder}/state.db"},
            "checkpoint": {"interval": "100ms"},
            "admin": {"enabled": False},
            **options,
        }

    def worker(self, **options: Any) -> Relay:
        """A worker with this config."""
        path = self.folder / f"{uuid.uuid4().hex}.yml"
        path.write_text(yaml.safe_dump(self.config(**options)))
        return Relay.from_config(path, environ={})

    @asynccontextmanager
    async def running(self, worker: Relay | None = None, **options: Any) -> AsyncIterator[Relay]:
        """A worker that runs, and is stopped gracefully at the end."""
        relay = worker or self.worker(**options)
        task = asyncio.create_task(relay.run())
        try:
            started = asyncio.create_task(relay.started())
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield relay
        finally:
            relay.stop()
            await task

    def write(self, count: int, documents: int = 20) -> None:
        """Changes of these documents, in turn; `n` numbers all of them."""
        for n in range(self._written, self._written + count):
            self.put(change(n, n % documents), str(n % documents))
        self._written += count
        self._producer.flush(20)

    def put(self, value: bytes, key: str, partition: int = -1, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """One record."""
        self._producer.produce(self.topic, value, key.encode(), partition, headers=list(headers))
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the records are stored."""
        self._producer.flush(20)

    def numbers(self) -> list[int]:
        """The `n` of all accepted events, in the order of arrival."""
        return [event.body["fullDocument"]["n"] for event in self.receiver.accepted]

    def committed(self) -> dict[int, int]:
        """The group's offsets by partition; those that it has."""
        consumer = Consumer({"bootstrap.servers": self.broker.address, "group.id": self.name, "log_level": 0})
        partitions = [TopicPartition(self.topic, number) for number in range(self.broker.PARTITIONS)]
        found = consumer.committed(partitions, timeout=20)
        consumer.close()
        return {each.partition: each.offset for each in found if each.offset >= 0}


def change(n: int, document: int, text: str = "") -> bytes:
    """The `n`th change, as the queue step writes it."""
    event: dict[str, Any] = {
        "_id": {"_data": f"82{HISTORY.time + n:08X}{1:08X}2B"},
        "operationType": "update",
        "clusterTime": Timestamp(HISTORY.time + n, 1),
        "ns": {"db": "shop", "coll": "orders"},
        "documentKey": {"_id": document},
        "fullDocument": {"_id": document, "n": n, "text": text},
    }
    return bson_json.canonical(event)


@pytest.fixture
def group(broker: KafkaServer, tmp_path: Path, receiver: Receiver) -> Group:
    """A topic and a group of this test alone."""
    return Group(broker, tmp_path, receiver)


def in_order(numbers: Sequence[int], documents: int = 20) -> bool:
    """Whether the changes of each document arrived in order, apart from repetitions from an earlier one on."""
    newest: dict[int, int] = {}
    seen: set[int] = set()
    for n in numbers:
        expected = newest.get(n % documents)
        if n not in seen and expected is not None and n < expected:
            return False
        newest[n % documents] = max(n, newest.get(n % documents, n))
        seen.add(n)
    return True
