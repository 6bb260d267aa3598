"""A step says where each event goes, so that one place that is down does not stop deliveries to the others."""

from __future__ import annotations

from mess.event import Event, Namespace
from mess.step import Context
from mess.steps.queue import QueueConfig

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
