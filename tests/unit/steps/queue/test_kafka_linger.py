"""When records wait for others: the client's own broker takes them, and a linger that would outlast the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mess.steps.base import Context
from mess.steps.queue import kafka
from mess.steps.queue.step import Queue, QueueConfig
from tests.unit.fakes import make_event, make_events
from tests.waiting import PATIENCE

LONGEST = 900_000  # milliseconds; the client allows no more


@asynccontextmanager
async def opened(**config: int) -> AsyncIterator[Queue]:
    """A step that publishes to a broker within the client."""
    section = {"config": {"test.mock.num.brokers": 1, **config}}
    options = {"url": "kafka://unused", "timeout": f"{PATIENCE}s", "kafka": section}
    step = QueueConfig.model_validate(options).build(Context())
    await step.open()
    try:
        yield step
    finally:
        await step.close()


async def pending(task: asyncio.Task[None]) -> bool:
    """Whether it is still not done after longer than sending takes."""
    done, _ = await asyncio.wait([task], timeout=0.3)
    return not done


async def test_a_few_records_do_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_LINGER_MILLISECONDS", LONGEST)
    async with opened() as step:
        for n in range(3):
            await step.process([make_event(n)])


async def test_many_records_wait_until_a_few_are_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_LINGER_MILLISECONDS", LONGEST)
    async with opened() as step:
        many = asyncio.create_task(step.process(make_events(200)))
        assert await pending(many)
        await step.process([make_event(200)])
        await many


@pytest.mark.parametrize("name", ["linger.ms", "queue.buffering.max.ms"])
async def test_a_linger_that_the_user_sets_applies_to_a_few_records_too(name: str) -> None:
    async with opened(**{name: LONGEST}) as step:
        one = asyncio.create_task(step.process([make_event(0)]))
        assert await pending(one)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
