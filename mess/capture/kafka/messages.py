"""What the client library has read, as records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mess.capture.kafka.partition import Load
from mess.capture.kafka.places import PartitionKey
from mess.capture.kafka.record import Record


def by_partition(messages: Sequence[Any]) -> Mapping[PartitionKey, Load]:
    """The records of messages without errors, for each partition in their order."""
    found: defaultdict[PartitionKey, list[Record]] = defaultdict(list)
    sizes: defaultdict[PartitionKey, int] = defaultdict(int)
    for message in messages:
        topic, number, value, key = message.topic(), message.partition(), message.value(), message.key()
        kind, timestamp = message.timestamp()
        place = PartitionKey(topic, number)
        found[place].append(
            Record(
                topic,
                number,
                message.offset(),
                timestamp=timestamp if kind else None,
                key=key,
                value=value,
                headers=_headers(message),
            )
        )
        sizes[place] += (0 if value is None else len(value)) + (0 if key is None else len(key))
    return {place: Load(records, sizes[place]) for place, records in found.items()}


def _headers(message: Any) -> Sequence[tuple[str, bytes | None]] | None:
    try:
        return message.headers() or ()
    except (SystemError, UnicodeDecodeError):  # the former because confluent-kafka goes on after the latter
        return None
