"""What every message says about its event, whatever the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mess.errors import DeliveryError
from mess.steps.queue.broker import Broker, Message
from mess.steps.queue.step import Queue, QueueConfig
from tests.unit.fakes import make_event, make_read


class Memory(Broker):
    """Keeps what is published."""

    keeps_order = True

    def __init__(self) -> None:
        self.published: list[Message] = []

    async def open(self) -> None:
        pass

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        self.published += messages
        return {}

    async def check(self, targets: Sequence[str]) -> str:
        return "answers"

    async def close(self) -> None:
        pass


async def published(*events: Any, **options: Any) -> list[Message]:
    broker = Memory()
    config = QueueConfig.model_validate({"url": "redis://h", **options})
    await Queue(config, config.envelope("test"), broker).deliver(events)
    return broker.published


async def test_the_document_and_the_backfill_are_headers() -> None:
    exact, looked_up, missing = (make_event(number, operation="update") for number in range(3))
    exact.looked_up, looked_up.looked_up = False, True
    del missing.change["fullDocument"]
    events = [exact, looked_up, missing, make_event(3, operation="delete"), make_read(4, backfill="bf_7")]
    found = [dict(message.headers) for message in await published(*events)]
    assert [headers.get("mess-document") for headers in found] == [b"exact", b"lookup", b"missing", None, b"exact"]
    assert [headers.get("mess-backfill") for headers in found] == [None, None, None, None, b"bf_7"]


async def test_an_existing_document_has_the_target_and_key_of_its_changes() -> None:
    """So that it is in the same partition, in its order."""
    for options in ({}, {"format": "debezium"}, {"format": "cloudevents"}, {"key": "{documentKey._id}"}):
        change, read = await published(make_event(5), make_read(5), **options)
        assert (read.target, read.key) == (change.target, change.key)
        assert not read.deleted
