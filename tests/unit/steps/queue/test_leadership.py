"""The queue step publishes nothing more once the lease has lapsed, whatever the broker."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

import pytest

from mess.errors import BatchError, DeliveryError, EndpointDown
from mess.leadership import Leadership, now
from mess.steps.queue.broker import Message
from mess.steps.queue.step import Queue, QueueConfig
from tests.unit.fakes import make_event, make_events
from tests.unit.steps.queue.test_headers import Memory


class Slow(Memory):
    """Confirms what it is given after `seconds`; notes whether it was cancelled before."""

    def __init__(self, seconds: float = 0.0, *, keeps_order: bool = True) -> None:
        super().__init__()
        self.seconds = seconds
        self.keeps_order = keeps_order  # type: ignore[misc]
        self.calls = 0
        self.cancelled = 0

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        self.calls += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().publish(messages)


async def opened(broker: Slow, leadership: Leadership, timeout: str = "5s") -> Queue:
    config = QueueConfig.model_validate({"url": "redis://h", "timeout": timeout})
    step = Queue(config, config.envelope("test"), broker)
    step.leadership = leadership
    await step.open()
    return step


async def test_the_next_message_of_a_document_is_not_sent_in_the_same_call() -> None:
    """A broker that does not keep the order gets a document's messages one after another."""
    leadership = Leadership(1, now() + 60)

    class Lapsing(Slow):
        async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
            leadership.extend(-math.inf)
            return await super().publish(messages)

    broker = Lapsing(keeps_order=False)
    step = await opened(broker, leadership)
    events = [make_event(n, key="one document") for n in range(3)]
    with pytest.raises(BatchError) as caught:
        await step.deliver(events)
    assert [message.id for message in broker.published] == [events[0].id]
    assert [*(events[index] for index in caught.value.errors), *caught.value.untried] == events[1:]
    await step.close()


async def test_a_publication_is_given_up_when_the_lease_lapses() -> None:
    """Its timeout may be longer, and the client may still hold messages that it would send later."""
    broker = Slow(60)
    step = await opened(broker, Leadership(1, now() + 0.05), timeout="30s")
    began = time.monotonic()
    with pytest.raises(EndpointDown, match="lease"):
        await step.deliver(make_events(3))
    assert time.monotonic() - began < 5
    assert (broker.cancelled, broker.published) == (1, [])
    await step.close()


async def test_a_publication_goes_on_while_the_lease_is_renewed() -> None:
    leadership = Leadership(1, now() + 0.1)
    broker = Slow(0.4)
    step = await opened(broker, leadership)
    delivery = asyncio.ensure_future(step.deliver(make_events(3)))
    for _ in range(8):
        await asyncio.sleep(0.05)
        leadership.extend(now() + 0.1)
    await delivery
    assert (broker.cancelled, len(broker.published)) == (0, 3)
    await step.close()


async def test_one_that_is_too_slow_is_still_given_up_in_time() -> None:
    broker = Slow(60)
    step = await opened(broker, Leadership(1, now() + 60), timeout="50ms")
    with pytest.raises(EndpointDown, match=r"within 0\.05 s"):
        await step.deliver(make_events(3))
    assert broker.cancelled == 1
    await step.close()


async def test_nothing_is_published_without_the_lease() -> None:
    broker = Slow()
    step = await opened(broker, Leadership(1, -math.inf))
    with pytest.raises(EndpointDown, match="lease"):
        await step.deliver(make_events(3))
    assert broker.calls == 0
    await step.close()
