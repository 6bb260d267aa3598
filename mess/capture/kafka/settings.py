"""librdkafka's settings for a member of a consumer group
(https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from mess.config.model import KafkaSource
from mess.errors import ConfigError, Problem
from mess.options.extras import required
from mess.options.kafka import connection_settings, offline

Protocol = Literal["consumer", "classic"]
PLACE = "source.kafka"
_CLASSIC_BEATS = 10
_POLL_MS = 60_000
_STATISTICS_SECONDS = 0.5
_FETCH_BYTES = 256 * 1024  # compressed, of each partition; smaller requests cost throughput

LOG = logging.getLogger("mess.kafka")
"""For the client's own messages, which also come with its errors."""
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


def client() -> Any:
    """The module `confluent_kafka`. Raises ConfigError if it is not installed."""
    with required("kafka", "a Kafka source", PLACE):
        import confluent_kafka
        import confluent_kafka.admin
    return confluent_kafka


def connection(source: KafkaSource, directory: Path) -> dict[str, Any]:
    """How to reach the brokers. Raises ConfigError if a certificate cannot be used."""
    try:
        tls = source.tls(directory)
    except ConfigError as error:
        problems = [Problem(each.message, f"{PLACE}.{each.path}") for each in error.problems]
        raise ConfigError(problems) from error
    return connection_settings(source.url, source.sasl_mechanism, tls)


def consumer_settings(
    source: KafkaSource, directory: Path, protocol: Protocol, *, max_bytes: int, records: int
) -> dict[str, Any]:
    """The settings of a consumer that reads ahead at most `max_bytes`, and about this many `records` of a partition.
    Raises ConfigError."""
    session = int(source.session_timeout * 1000)
    ours: dict[str, Any] = {
        **connection(source, directory),
        "group.id": source.group,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Tells where a partition ends: after the last record, there may be markers of transactions.
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # where to begin is decided, and stored, before anything is read
        "statistics.interval.ms": int(min(_STATISTICS_SECONDS, source.session_timeout / 10) * 1000),
        "queued.max.messages.kbytes": max(1024, max_bytes // 1024),
        "queued.min.messages": records,
        "fetch.message.max.bytes": max(64 * 1024, min(_FETCH_BYTES, max_bytes // 2)),
        # A full queue is emptied soon, and the next request must not wait for a second.
        "fetch.queue.backoff.ms": 5,
        "fetch.error.backoff.ms": 100,
        "topic.metadata.refresh.interval.ms": 60_000,
        # In a rebalance, the group waits this long for a member that hangs. This one polls in a thread of its own, and
        # hands partitions over much faster.
        "max.poll.interval.ms": _POLL_MS,
    }
    if protocol == "classic":
        ours |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session,
            "heartbeat.interval.ms": max(1, session // _CLASSIC_BEATS),
        }
    settings = {**ours, **source.config}
    if protocol == "classic":
        settings["max.poll.interval.ms"] = max(int(settings["max.poll.interval.ms"]), session)
    return settings


def check(source: KafkaSource, directory: Path) -> None:
    """Raises ConfigError if the client library is not installed, or does not accept the settings."""
    kafka = client()
    try:
        settings = consumer_settings(source, directory, protocol(source) or "classic", max_bytes=1 << 20, records=1)
        # A client connects as soon as it is created, unless it knows no broker.
        kafka.Consumer(offline(settings), logger=LOG).close()
    except (kafka.KafkaException, AttributeError, OverflowError, ValueError, TypeError) as error:
        reason = error.args[0].str().strip() if isinstance(error, kafka.KafkaException) else error
        raise ConfigError([Problem(f"Kafka's client does not accept the settings: {reason}", PLACE)]) from error


def protocol(source: KafkaSource) -> Protocol | None:
    """The group protocol that the config asks for; None if it is to be found out."""
    given = str(source.config.get("group.protocol", "")).lower()
    return "consumer" if given == "consumer" else "classic" if given == "classic" else None
