"""What every message says about its event, whatever the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from mess.errors import DeliveryError
from mess.leadership import ALWAYS, Leadership
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


async def published(*events: Any, leadership: Leadership = ALWAYS, **options: Any) -> list[Message]:
    broker = Memory()
    config = QueueConfig.model_validate({"url": "redis://h", **options})
    step = Queue(config, config.envelope("test"), broker)
    step.leadership = leadership
    await step.deliver(events)
    return broker.published


async def test_the_document_and_the_backfill_are_headers() -> None:
    exact, looked_up, missing = (make_event(number, operation="update") for number in range(3))
    exact.looked_up, looked_up.looked_up = False, True
    del missing.change["fullDocument"]
    events = [exact, looked_up, missing, make_event(3, operation="delete"), make_read(4, backfill="bf_7")]
    found = [dict(message.headers) for message in await published(*events)]
    assert [headers.get("mess-document") for headers in found] == [b"exact", b"lookup", b"missing", None, b"exact"]
    assert [headers.get("mess-backfill") for headers in found] == [None, None, None, None, b"bf_7"]


async def test_every_message_carries_the_epoch_if_it_is_known() -> None:
    for leadership, expected in ((Leadership(42), b"42"), (Leadership(), None)):
        found = await published(make_event(1), make_event(2), leadership=leadership)
        assert [dict(message.headers).get("mess-epoch") for message in found] == [expected] * 2


@pytest.mark.parametrize("name", ["mess-epoch", "Mess-Epoch"])
def test_nobody_else_sets_the_epoch(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be set"):
        QueueConfig.model_validate({"url": "redis://h", "headers": {name: "1"}})


async def test_an_existing_document_has_the_target_and_key_of_its_changes() -> None:
    """So that it is in the same partition, in its order."""
    for options in ({}, {"format": "debezium"}, {"format": "cloudevents"}, {"key": "{documentKey._id}"}):
        change, read = await published(make_event(5), make_read(5), **options)
        assert (read.target, read.key) == (change.target, change.key)
        assert not read.deleted
