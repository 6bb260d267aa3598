"""Servers that tests share. A test that needs one which is absent skips, or fails where MESS_REQUIRE_SERVERS=1."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pymongo import MongoClient

from mess.demo.mongod import MongodMissing, find_mongod
from mess.demo.replica_set import ReplicaSet
from mess.telemetry.redact import redact
from tests.servers.kafka import KafkaServer
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.process import ServerMissing
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer

_SECONDS = {"fault": 15.0, "acceptance": 6.0, "browser": 4.0, "fuzz": 6.0, "integration": 0.7}
"""What a slow test takes, roughly, by its folder."""
_WORKERS = 4


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first, and the quick ones behind them, where they fill the gaps.

    `--dist worksteal` cuts the list into one part for each worker, with as many tests in each. Modules stay whole,
    since some have servers of their own.
    """
    modules = [list(module) for _, module in groupby(items, key=lambda item: item.path)]
    slow = {id(module): _slowness(module) for module in modules}
    parts: list[list[pytest.Item]] = [[] for _ in range(_WORKERS)]
    taken = [0.0] * _WORKERS
    for module in sorted(modules, key=lambda module: -slow[id(module)]):
        measure = taken if slow[id(module)] else list(map(len, parts))
        index = measure.index(min(measure))
        parts[index] += module
        taken[index] += slow[id(module)]
    items[:] = [item for part in parts for item in part]


def _slowness(module: Sequence[pytest.Item]) -> float:
    folders = module[0].path.relative_to(Path(__file__).parent).parts
    return len(module) * _SECONDS.get(folders[0], 0.0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In continuous integration, tell a failure at once: a run that reaches its time limit has no summary."""
    if report.failed and "CI" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        end = report.longreprtext.splitlines()[-40:]
        sys.stderr.write("\n".join(["", f"FAILED {report.nodeid}", *end, ""]))


def server_missing(reason: str) -> NoReturn:
    """Skip the test for the lack of a server, or fail it where servers are required."""
    if os.environ.get("MESS_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def servers_needed() -> Iterator[None]:
    """Where a server is made: without its program, see `server_missing`."""
    try:
        yield
    except (MongodMissing, ServerMissing) as error:
        server_missing(str(error))


def _running(count: int, **options: Any) -> Iterator[ReplicaSet]:
    with servers_needed():
        find_mongod()
    with ReplicaSet(count, **options) as replica_set:
        yield replica_set


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """One test's secrets are not another's."""
    redact.__init__()  # type: ignore[misc]


@pytest.fixture(scope="session")
def replica_set() -> Iterator[ReplicaSet]:
    """A replica set of one server, shared by all tests: do not kill it, and keep to a database of your own."""
    # Room for large documents, and for what is written in the time that a test looks back.
    yield from _running(1, cache_gb=1, oplog_mb=2048)


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[ReplicaSet]:
    """A replica set of three servers that elects fast. A test that kills one starts it again."""
    yield from _running(3, election_ms=1000)


@pytest.fixture
def own_replica_set() -> Iterator[ReplicaSet]:
    """A replica set of one server for this test alone, which may kill it, or lose its oplog."""
    yield from _running(1)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis server for this test alone, which may kill it."""
    with servers_needed():
        made = RedisServer()
    with made as server:
        yield server


@pytest.fixture
def rabbitmq_server() -> Iterator[RabbitServer]:
    """A RabbitMQ server for this test alone, which may kill it."""
    with servers_needed():
        made = RabbitServer()
    with made as server:
        yield server


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A NATS server with JetStream for this test alone, which may kill it."""
    with servers_needed():
        made = NatsServer()
    with made as server:
        yield server


@pytest.fixture
def mosquitto_server() -> Iterator[MosquittoServer]:
    """An MQTT broker for this test alone, which may kill it."""
    with servers_needed():
        made = MosquittoServer()
    with made as server:
        yield server


@pytest.fixture
def kafka_server() -> Iterator[KafkaServer]:
    """A Kafka broker for this test alone, which may kill it."""
    with servers_needed():
        made = KafkaServer()
    with made as server:
        yield server


@pytest.fixture
def mongo(replica_set: ReplicaSet) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of `replica_set`."""
    with MongoClient[dict[str, Any]](replica_set.url, tz_aware=True, serverSelectionTimeoutMS=10_000) as client:
        yield client


@pytest.fixture
def database(mongo: MongoClient[dict[str, Any]]) -> Iterator[str]:
    """The name of a database that only this test uses; dropped behind it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    mongo.drop_database(name)
