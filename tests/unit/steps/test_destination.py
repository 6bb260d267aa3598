"""A step says where each event goes, so that one place that is down does not stop deliveries to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from mess.errors import BatchError, DeliveryError, EndpointDown
from mess.event import Event, Namespace
from mess.steps.base import Context
from mess.steps.queue.broker import Message
from mess.steps.queue.confirms import Confirms
from mess.steps.queue.step import Queue, QueueConfig
from tests.fuzz.sinks import Recorded
from tests.unit.fakes import make_events

EVENT = Event({"_id": {"_data": "82AA"}, "operationType": "insert"}, Namespace("shop", "orders"))


def test_a_queue_step_has_one_destination_for_each_target() -> None:
    """The default target is the namespace; a constant one makes a single destination, which needs no name."""
    step = QueueConfig.model_validate({"url": "redis://host"}).build(Context())
    assert step.destination is not None
    assert step.destination(EVENT) == "shop.orders"
    assert QueueConfig.model_validate({"url": "redis://host", "target": "all"}).build(Context()).destination is None


def test_an_event_without_a_destination_has_an_empty_one() -> None:
    """`destination` never raises: the step itself refuses such an event and gives the reason."""
    step = QueueConfig.model_validate({"url": "redis://host", "target": "{object}"}).build(Context())
    event = Event({"_id": {"_data": "82AA"}, "operationType": "insert", "object": object()}, Namespace("shop"))
    assert step.destination is not None
    assert step.destination(event) == ""


@pytest.mark.parametrize("raised", [True, False])
async def test_a_broker_that_is_away_is_away_for_all_targets(raised: bool) -> None:
    """Whether it says so at once or for the messages on their way; a full queue concerns its own target alone."""

    class Broker(Recorded):
        async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
            if raised:
                raise EndpointDown("nobody is there")
            confirms = Confirms(messages)
            confirms.resolve(0, EndpointDown("the queue is full"))
            confirms.fail(EndpointDown("the connection is lost"))
            return await confirms.all()

    config = QueueConfig.model_validate({"url": "redis://host"})
    step = Queue(config, config.envelope("mess"), Broker())
    events = make_events(3)
    with pytest.raises((EndpointDown, BatchError)) as caught:
        await step.process(events)
    if isinstance(caught.value, BatchError):
        shared = [isinstance(error, EndpointDown) and error.shared for error in caught.value.errors.values()]
        assert shared == [False, True, True]
    else:
        assert isinstance(caught.value, EndpointDown)
        assert caught.value.shared
