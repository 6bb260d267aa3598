"""What has arrived at a broker, read by its own client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar, Self

from tests.servers.kafka import KafkaServer
from tests.servers.mosquitto import MosquittoServer, Subscriber
from tests.servers.nats import NatsServer
from tests.servers.process import BrokerProcess
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer

TARGET = "changes"


class Reader(ABC):
    """Reads what is published to `TARGET`, while the broker runs. Used as `with`, like the broker before."""

    options: ClassVar[dict[str, Any]] = {}
    """Of the queue step."""
    turns: ClassVar[int] = 10
    """How many times the broker and the relay are to be killed, in turn: fewer where a broker starts slowly."""

    def __init__(self, server: Any) -> None:
        self.server: BrokerProcess = server
        self._stack = ExitStack()

    @abstractmethod
    def read(self) -> list[tuple[bytes, str]]:
        """Body and id of every message so far, in the order of the stream, or of each partition."""

    def kill(self) -> None:
        """End the broker at once."""
        self.server.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Redis(Reader):
    """Redis Streams."""

    server: RedisServer

    def read(self) -> list[tuple[bytes, str]]:
        with self.server.client() as client:
            entries: Any = client.xrange(TARGET)
        return [(fields[b"body"], fields[b"id"].decode()) for _, fields in entries]


class Kafka(Reader):
    """Kafka."""

    server: KafkaServer
    options: ClassVar[dict[str, Any]] = {"timeout": "30s"}
    turns = 6

    def read(self) -> list[tuple[bytes, str]]:
        return [(each.value(), dict(each.headers())["mess-id"].decode()) for each in self.server.records(TARGET)]


class Rabbit(Reader):
    """RabbitMQ. A quorum queue of one server (3.10) at times elects no leader any more after the second kill."""

    server: RabbitServer
    options: ClassVar[dict[str, Any]] = {"rabbitmq": {"declare": "classic"}}
    turns = 4

    def __init__(self, server: RabbitServer) -> None:
        super().__init__(server)
        self._found: list[tuple[bytes, str]] = []

    def read(self) -> list[tuple[bytes, str]]:
        with self.server.channel() as channel:
            # Without auto_ack: what arrives between the end of the wait and the end of the channel would be lost.
            for method, properties, body in channel.consume(TARGET, inactivity_timeout=0.5):
                if method is None:
                    return self._found
                self._found.append((body, properties.message_id))
                channel.basic_ack(method.delivery_tag)
        raise AssertionError("RabbitMQ has gone")


class Nats(Reader):
    """NATS JetStream."""

    server: NatsServer
    options: ClassVar[dict[str, Any]] = {"nats": {"stream": {"name": "all", "subjects": [TARGET]}}}

    def read(self) -> list[tuple[bytes, str]]:
        return [(each.data, each.header["Nats-Msg-Id"]) for each in self.server.messages("all")]


class Mqtt(Reader):
    """MQTT: a subscriber that keeps its session. Mosquitto writes what it holds only when it ends in order."""

    server: MosquittoServer

    def __init__(self, server: MosquittoServer) -> None:
        super().__init__(server)
        self._subscriber = self._stack.enter_context(Subscriber(server.port))

    def kill(self) -> None:
        self.server.stop()

    def read(self) -> list[tuple[bytes, str]]:
        found: list[Any] = list(self._subscriber.messages)
        return [(each.payload, dict(each.properties.UserProperty)["mess-id"]) for each in found]


READERS: dict[str, type[Reader]] = {
    "redis_server": Redis,
    "kafka_server": Kafka,
    "rabbitmq_server": Rabbit,
    "nats_server": Nats,
    "mosquitto_server": Mqtt,
}
"""By the name of the fixture that is the broker."""
