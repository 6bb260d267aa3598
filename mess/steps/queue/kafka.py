"""Kafka, with confluent-kafka (librdkafka; https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mess.errors import ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.options.extras import required
from mess.options.kafka import Mechanism, connection_settings, hosts_of, offline, unverified
from mess.options.secret import Secret, of_settings
from mess.options.tls import Tls
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.kafka_unreachable import kafka_unreachable

_CHECK_SECONDS = 8.0  # less than the step's own check timeout, whose message would be less specific
_CHECK_TURN = 0.5
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_LINGER_MILLISECONDS = 2
_FEW = 100  # messages; lanes that drain a backlog publish about 200 at a time
# Both include librdkafka's aliases.
_LINGER = ("linger.ms", "queue.buffering.max.ms")
_OURS = (
    "acks",
    "bootstrap.servers",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.idempotence",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
)
_REFUSALS = (
    "INVALID_RECORD",
    "MSG_SIZE_TOO_LARGE",
    "RECORD_LIST_TOO_LARGE",
    "TOPIC_AUTHORIZATION_FAILED",
    "TOPIC_EXCEPTION",
    "UNKNOWN_TOPIC_OR_PART",
    "_INVALID_ARG",  # for a topic whose name is empty or too long
    "_UNKNOWN_TOPIC",
)
_log = logging.getLogger("mess.kafka")
_log.addHandler(logging.NullHandler())  # the client's messages also come with its errors
_log.propagate = False


class KafkaOptions(BrokerOptions):
    """Kafka. Always with `acks=all` and the idempotent producer, which preserves the order within a partition.

    The record's key is the document's `_id`; the header `mess-id` is the event's id.

    A few records are sent at once. Under load, records wait up to 2 ms for others, so that requests are fewer. If you
    set `linger.ms` in `config`, that applies to all records.
    """

    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """How record batches are compressed."""
    tombstones: bool = False
    """Whether a deletion is sent as a record without a value, which makes a compacted topic forget the key."""
    sasl_mechanism: Mechanism = "PLAIN"
    """How the url's user and password are sent to the broker."""
    message_max_bytes: int = Field(20_000_000, ge=1000)
    """The largest record to send. The broker has its own limit (`message.max.bytes`, 1 MB by default)."""
    config: Annotated[dict[str, str | int | float | bool], Secret(of_settings)] = Field(
        default_factory=dict, repr=False
    )
    """More librdkafka settings, by their librdkafka names."""

    @field_validator("config")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(value) & set(_OURS)):
            raise ValueError(f"{', '.join(taken)} cannot be set: records could be lost")
        return value

    def unverified(self) -> list[str]:
        """See `BrokerOptions`."""
        return ["config"] if unverified(self.config) else []


class _Batch:
    """Messages in flight, whose delivery reports arrive in the polling thread.

    `expected` is how many there will be, None while that is unknown. `reason` is why it no longer waits for reports.
    Each attribute is written by one thread only.
    """

    def __init__(self) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: dict[int, Any] = {}
        self.expected: int | None = None
        self.reported = 0
        self.reason: str | None = None

    def report(self, index: int, error: Any, _message: Any) -> None:
        """Record that a message was confirmed or has failed."""
        if error is not None:
            self.errors[index] = error
        self.reported += 1
        if self.reported == self.expected:
            self._finish()

    def abandon(self, reason: str) -> None:
        """Stop waiting."""
        self.reason = reason
        self._finish()

    def _finish(self) -> None:
        self.finished.get_loop().call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)


class KafkaBroker(Broker):
    """See `KafkaOptions`.

    librdkafka never gives up a message on its own here, since later messages of the partition might then be delivered
    before the retry. When something must end (no broker is reachable, a fatal error, the caller cancels), it ends for
    everything in flight: all messages are purged, and a new producer starts.
    """

    schemes = ("kafka", "kafkas")
    address = "host:9092,host2:9092"
    options = KafkaOptions
    lanes = 2  # its client pipelines on its own
    keeps_order = True

    def __init__(self, url: str, options: KafkaOptions, around: Surroundings) -> None:
        """See `Broker`."""
        with required("kafka", "a kafka:// URL", "url"):
            import confluent_kafka
        self._client = confluent_kafka
        self._options = options
        self._hosts = hosts_of(url)
        self._config = self._settings(url, around.tls)
        kinds = confluent_kafka.KafkaError
        self._refusals = frozenset(getattr(kinds, name) for name in _REFUSALS)
        self._down = frozenset({kinds._ALL_BROKERS_DOWN, kinds._AUTHENTICATION, kinds._SSL})
        self._few = 0 if any(name in options.config for name in _LINGER) else _FEW
        self._hurry = False
        self._published = threading.Event()
        self._producer: Any = None
        self._batches: set[_Batch] = set()
        self._trouble: str | None = None
        self._open = False
        try:
            # A producer connects as soon as it is created, unless it knows no broker.
            confluent_kafka.Producer(offline(self._config), logger=_log)
        except (confluent_kafka.KafkaException, AttributeError, ValueError, TypeError) as error:
            raise ConfigError([Problem(f"Kafka's client does not accept the settings: {error}", "kafka")]) from error

    def _settings(self, url: str, tls: Tls) -> dict[str, Any]:
        config: dict[str, Any] = {
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": 0,
            "linger.ms": _LINGER_MILLISECONDS,
            "partitioner": "murmur2_random",  # the default of Java producers
            "compression.type": self._options.compression,
            "message.max.bytes": self._options.message_max_bytes,
            "topic.metadata.propagation.max.ms": 10_000,
        }
        connection = connection_settings(url, self._options.sasl_mechanism, tls)
        return {**connection, **config, **self._options.config}

    def _begin(self) -> None:
        self._trouble = None
        self._producer = self._client.Producer({**self._config, "error_cb": self._on_error}, logger=_log)

    async def open(self) -> None:
        """Create the producer, which connects in the background."""
        self._begin()
        self._open = True
        threading.Thread(target=self._poll, name="mess-kafka", daemon=True).start()

    def _poll(self) -> None:
        while self._open:
            producer = self._producer
            if not self._hurry:
                producer.poll(_POLL_SECONDS)
            elif not producer.flush(_POLL_SECONDS):  # while it lasts, the client does not linger
                producer.poll(0)  # without messages in flight, `flush` does not look for errors
                self._published.wait(_POLL_SECONDS)
                self._published.clear()

    def _on_error(self, error: Any) -> None:
        """Called in the polling thread for errors that do not concern a single message."""
        if error.code() in self._down or error.fatal():
            if self._trouble is None or error.code() != self._client.KafkaError._ALL_BROKERS_DOWN:
                self._trouble = error.str()
            for batch in list(self._batches):
                batch.abandon(self._trouble)

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`."""
        batch = _Batch()
        producer, failures = self._producer, dict[int, DeliveryError]()
        self._batches.add(batch)
        try:
            for index, message in enumerate(messages):
                try:
                    self._produce(producer, message, partial(batch.report, index))
                except self._client.KafkaException as error:
                    failures[index] = self._failure(error.args[0])
                except ValueError as error:  # a topic with a null character
                    failures[index] = Refused(f"kafka at {self._hosts}: the client cannot send it: {error}", local=True)
                except BufferError:
                    raise EndpointDown(f"kafka at {self._hosts}: too many messages wait to be confirmed") from None
            batch.expected = len(messages) - len(failures)
            self._hurry = len(messages) < self._few
            self._published.set()
            if batch.reported < batch.expected:
                # The client reports only once that all brokers are down, perhaps while nothing was in flight.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ANSWER_SECONDS if self._trouble else None):
                        await batch.finished
            if batch.reported < batch.expected:
                raise EndpointDown(f"kafka at {self._hosts}: {batch.reason or self._trouble}")
        except BaseException:
            self._start_anew(producer)
            raise
        finally:
            self._batches.discard(batch)
        failures |= {index: self._failure(error) for index, error in batch.errors.items()}
        if any(isinstance(failure, EndpointDown) for failure in failures.values()):
            self._start_anew(producer)
        return failures

    def _produce(self, producer: Any, message: Message, report: Any) -> None:
        value = None if message.deleted and self._options.tombstones else message.body
        headers = [("mess-id", message.id.encode()), *message.headers]
        producer.produce(message.target, value, message.key, headers=headers, on_delivery=report)

    def _start_anew(self, producer: Any) -> None:
        """Discard everything in flight: a retry must not send messages again after the ones that followed them."""
        if self._producer is not producer:
            return
        self._begin()
        producer.purge(in_queue=True, in_flight=True, blocking=False)
        producer.poll(0)
        for batch in self._batches:  # including other lanes' batches, whose reports would be lost
            batch.abandon("messages in flight were discarded after another failure")

    def _failure(self, error: Any) -> DeliveryError:
        text = f"kafka at {self._hosts}: {error.str()}"
        if error.code() in self._refusals:
            return Refused(f"{text} ({error.name()})")
        return EndpointDown(text)

    async def check(self, targets: Sequence[str]) -> str:
        """See `Broker.check`."""
        for target in targets or (None,):
            await asyncio.to_thread(self._look_for, target)
        return f"kafka at {self._hosts} answers"

    def _look_for(self, target: str | None) -> None:
        kinds = self._client.KafkaError
        deadline = time.monotonic() + _CHECK_SECONDS
        while True:
            try:
                # For a single topic, this request is the one that a producer makes too: it creates the topic if the
                # broker allows that. Use short timeouts, since the client would not stop early for errors that
                # `_on_error` receives.
                found = self._producer.list_topics(target, timeout=_CHECK_TURN)
                break
            except self._client.KafkaException as error:
                if self._trouble or time.monotonic() > deadline:
                    raise kafka_unreachable(self._hosts, self._trouble or error.args[0].str()) from error
        for topic in found.topics.values() if target else ():
            if topic.error is not None and topic.error.code() != kinds.LEADER_NOT_AVAILABLE:
                raise Refused(
                    f"kafka at {self._hosts}, topic {target}: {topic.error.str()}; create it, or choose another"
                )

    async def close(self) -> None:
        """See `Broker.close`."""
        if not self._open:
            return
        self._open = False
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        await asyncio.to_thread(self._producer.flush, 1)
