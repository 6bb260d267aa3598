"""A record of a Kafka topic, and the interface of what makes events of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from bson import Timestamp

from mess.capture.source import Unreadable
from mess.event import Event, Position


class Record(NamedTuple):
    """A record as the broker keeps it.

    `timestamp` is in milliseconds since 1970. It, `key` and `value` are None if the record has none, and so is a
    header's value; without a value it is a tombstone. `headers` is None if the name of one is not UTF-8.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] | None


class KafkaEvent(Event):
    """An event that was read from a topic. `next_offset` is the offset of the record after it."""

    __slots__ = ("next_offset",)

    next_offset: int


class ExistingDocument(KafkaEvent):
    """An existing document, which the backfill with the id `backfill` of another relay has read."""

    __slots__ = ("backfill",)


class Decoder(Protocol):
    """Makes events of records."""

    def events(self, records: Sequence[Record]) -> tuple[list[KafkaEvent], list[Unreadable]]:
        """The events of records of one partition, in order, and the records that cannot be read. Tombstones are
        neither. Never raises."""


def position(topic: str, partition: int, offset: int, time: Timestamp | None = None) -> Position:
    """The position before the record with this offset; `time` is the cluster time that the last event before it was
    committed at, if that is known."""
    token: dict[str, Any] = {"topic": topic, "partition": partition, "offset": offset}
    return Position(token, time)
