"""A Kafka broker of one's own: one JVM in KRaft mode, on free ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.process import BrokerProcess, ServerMissing

VERSION = "4.1.1"
JARS = Path(os.environ.get("MESS_TEST_KAFKA") or Path(__file__).parents[3] / ".services" / f"kafka-{VERSION}")
"""Kafka's own libraries; the variable names those of another version."""
_READY_SECONDS = 60.0
_LAUNCHES = 3
_JAVA = ("-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class KafkaMissing(ServerMissing):
    """There is no Java, or no Kafka in .services: make services."""


def find_kafka() -> str:
    """Java's program. Raises KafkaMissing."""
    java = shutil.which("java")
    if java is None or not any(JARS.glob("kafka_2*.jar")):
        raise KafkaMissing(KafkaMissing.__doc__)
    return java


class KafkaServer(BrokerProcess):
    """A Kafka broker; `options` are server.properties', with underscores for dots unless they have dots. With `tls`, it
    listens for that too, and asks for a client's certificate. `listeners` are more ports, by security protocol."""

    PARTITIONS = 4
    """How many partitions its topics have."""

    def __init__(
        self, tls: Certificates | None = None, listeners: Mapping[str, int] | None = None, **options: str
    ) -> None:
        self._java = find_kafka()
        super().__init__("kafka")
        self.port, self._tls_port, controller = free_port(), free_port(), free_port()
        ports = {"PLAINTEXT": self.port, **({} if tls is None else {"SSL": self._tls_port}), **(listeners or {})}
        advertised = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        self._properties = Path(self._folder.name, "server.properties")
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"{advertised},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": advertised,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in ports)]),
            "log.dirs": str(Path(self._folder.name, "data")),
            # A broker that was killed is let in again sooner.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "num.partitions": str(self.PARTITIONS),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "group.consumer.min.session.timeout.ms": "1000",
            "group.consumer.min.heartbeat.interval.ms": "100",
            "group.consumer.heartbeat.interval.ms": "300",
            "group.consumer.session.timeout.ms": "6000",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            **{name if "." in name else name.replace("_", "."): value for name, value in options.items()},
        }
        if tls is not None:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": tls.server,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": tls.ca,
                "ssl.client.auth": "required",
            }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._run("kafka.tools.StorageTool", "format", "-t", "bWVzc3Rlc3RjbHVzdGVyMQ", "-c")

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its url."""
        return f"kafka://{self.address}"

    @property
    def tls_url(self) -> str:
        """Its url with TLS."""
        return f"kafkas://127.0.0.1:{self._tls_port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        process = self._launch([*self._command("kafka.Kafka"), str(self._properties)])
        launches = 1
        deadline = time.monotonic() + _READY_SECONDS
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        while True:
            try:
                admin.list_topics(timeout=1)
            except KafkaException:
                assert time.monotonic() < deadline, "Kafka does not answer"
                if process.poll() is not None:  # a connection of another test may have had one of its ports meanwhile
                    assert launches < _LAUNCHES, f"exit code {process.returncode}: {self.log[-3000:]}"
                    time.sleep(1)
                    process = self._launch([*self._command("kafka.Kafka"), str(self._properties)])
                    launches += 1
            else:
                return

    def create(self, *topics: str, partitions: int | None = None) -> None:
        """Make topics, with so many partitions or `PARTITIONS`; return when each can be read."""
        partitions = partitions or self.PARTITIONS
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for made in admin.create_topics([NewTopic(topic, partitions) for topic in topics]).values():
            made.result(_READY_SECONDS)
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        deadline = time.monotonic() + _READY_SECONDS
        waiting = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
        while waiting:
            try:
                consumer.get_watermark_offsets(waiting[-1], timeout=1)
            except KafkaException:  # a topic is there before its partitions have leaders
                assert time.monotonic() < deadline, f"{waiting[-1]} cannot be read"
                time.sleep(0.02)
            else:
                waiting.pop()
        consumer.close()

    def records(self, topic: str, timeout: float = 20.0) -> list[Any]:
        """All records of a topic, partition after partition, each in order."""
        settings = {"group.id": "test", "enable.auto.commit": False, "fetch.wait.max.ms": 10, "log_level": 0}
        consumer = Consumer({"bootstrap.servers": self.address, **settings})
        found: list[Any] = []
        try:
            numbers = consumer.list_topics(topic, timeout=timeout).topics[topic].partitions
            partitions = [TopicPartition(topic, number, 0) for number in numbers]
            ends = [consumer.get_watermark_offsets(each, timeout=timeout)[1] for each in partitions]
            consumer.assign(partitions)
            deadline = time.monotonic() + timeout
            while len(found) < sum(ends):
                assert time.monotonic() < deadline, "the records cannot be read"
                for record in consumer.consume(1000, timeout=0.1):
                    assert record.error() is None, record.error()
                    found.append(record)
        finally:
            consumer.close()
        return sorted(found, key=lambda record: (record.partition(), record.offset()))

    def _command(self, main: str) -> list[str]:
        return [self._java, *_JAVA, "-cp", f"{JARS}/*", main]

    def _run(self, main: str, *arguments: str) -> None:
        subprocess.run([*self._command(main), *arguments, str(self._properties)], check=True, capture_output=True)
