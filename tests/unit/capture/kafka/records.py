"""Records as our queue step publishes them, and decoding in the tests' terms."""

from __future__ import annotations

from typing import Any

from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.record import KafkaEvent, Record
from mess.capture.source import Unreadable
from mess.event import Event
from mess.formats.envelope import Format
from mess.steps.base import Context
from mess.steps.http.step import HttpConfig
from mess.steps.queue.step import QueueConfig

PLACE: dict[str, Any] = {"topic": "changes", "partition": 3, "offset": 41, "timestamp": 1_795_415_553_002}


def record(value: bytes | None, key: bytes | None = None, headers: Any = (), **place: Any) -> Record:
    """A record with this value."""
    return Record(**{**PLACE, **place}, key=key, value=value, headers=headers)


def published(event: Event, **options: Any) -> Record:
    """The record that the queue step publishes for an event."""
    config = QueueConfig.model_validate({"url": "kafka://localhost:1", "target": "changes", **options})
    step = config.build(Context())
    message = step._message(event, step._common())
    return record(message.body, message.key, [("mess-id", message.id.encode()), *message.headers])


def decode(*records: Record, format: str = "auto") -> list[KafkaEvent]:  # noqa: A002 - the option's name
    """The events of records that can all be read."""
    events, unreadable = decoder(format).events(records)
    assert not unreadable
    return events


def refused(one: Record, format: str = "auto") -> Unreadable:  # noqa: A002 - see above
    """What becomes of a record that cannot be read."""
    events, [unreadable] = decoder(format).events([one])
    assert not events
    return unreadable


def sent(event: Event, **options: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers that the http step sends for an event."""
    config = HttpConfig.model_validate({"endpoint": "http://localhost:1/", **options})
    preview = config.build(Context()).preview(event)
    assert preview is not None
    return preview.body, dict(preview.headers)


def encoded(event: Event, **options: Any) -> bytes:
    """An event's body in a format."""
    return Format.model_validate(options).envelope("mess").encode(event)
