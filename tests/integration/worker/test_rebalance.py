"""Partitions that come and go: nothing is lost, and each document keeps its order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from mess.app import Relay
from tests.integration.worker.conftest import Group, in_order
from tests.receiver import Answer
from tests.waiting import until

SHARED = {"shutdown_grace": "2s"}


def assigned(worker: Relay) -> int:
    """How many partitions it has."""
    return 0 if worker.group is None else len(worker.group.assigned)


async def test_workers_share_the_partitions_and_hand_them_over_under_load(group: Group, protocol: str) -> None:
    group.receiver.answer = Answer(delay=0.005)
    kafka = {"config": {"group.protocol": protocol}, "session_timeout": "6s"}
    async with AsyncExitStack() as stack:
        group.write(300)
        first = await stack.enter_async_context(group.running(kafka=kafka, **SHARED))
        await group.receiver.wait_for_events(50, 30)
        second = await stack.enter_async_context(group.running(kafka=kafka, **SHARED))
        await until(lambda: (assigned(first), assigned(second)) == (2, 2), "they do not share", 40)
        group.write(300)
        await group.receiver.wait_for_events(400, 30)
        first.stop()
        await until(lambda: assigned(second) == 4, "the second does not get all of them", 40)
        group.write(100)
        await group.receiver.wait_for_events(700, 30)
    assert set(group.numbers()) == set(range(700))
    assert in_order(group.numbers())
    # What was done before a partition went was committed before.
    assert len(group.numbers()) == 700
    assert sum(group.committed().values()) == 700


async def test_a_partition_goes_although_its_endpoint_is_down(group: Group) -> None:
    """After the grace period, with what is not done left to the next member."""
    group.receiver.answer = Answer(503)
    group.write(40)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(group.running(shutdown_grace="500ms"))
        await group.receiver.wait_for(3, 30)
        second = await stack.enter_async_context(group.running(shutdown_grace="500ms"))
        await until(lambda: (assigned(first), assigned(second)) == (2, 2), "they do not share", 40)
        group.receiver.answer = Answer()
        await group.receiver.wait_for_events(40, 40)
    assert in_order(group.numbers())


async def test_a_full_partition_that_comes_back_is_read_on(group: Group) -> None:
    """It was paused since its endpoint was down, went to another worker, and came back when that one ended."""
    group.receiver.answer = Answer(503)
    classic = {"config": {"group.protocol": "classic"}}
    options = {"window": {"max_events": 40}, "shutdown_grace": "500ms", "kafka": classic}
    async with group.running(**options) as first:
        group.write(800)
        await group.receiver.wait_for(3, 30)
        await asyncio.sleep(1)  # until it is full
        async with group.running(**options) as second:
            await until(lambda: (assigned(first), assigned(second)) == (2, 2), "they do not share", 40)
        await until(lambda: assigned(first) == 4, "it has not got them back", 40)
        group.receiver.answer = Answer()
        await group.receiver.wait_for_events(800, 60)
    assert in_order(group.numbers())


@pytest.mark.long
async def test_a_function_may_take_longer_than_the_longest_interval_between_polls(group: Group) -> None:
    code = "import time\n\n\ndef slow(event, config, context):\n    time.sleep(8)\n    return event\n"
    (group.folder / "slow.py").write_text(code)
    group.write(1)
    step = {"name": "slow", "retry": {"max_attempts": 1}}
    pipeline = [step, *group.config()["pipeline"]]
    kafka = {"config": {"max.poll.interval.ms": 6000, "group.protocol": "classic"}, "session_timeout": "6s"}
    async with group.running(kafka=kafka, pipeline=pipeline, plugins={"slow": "slow:slow"}) as worker:
        await group.receiver.wait_for_events(1, 60)
        assert worker.group is not None
        assert worker.group.rebalances == 1
        await asyncio.sleep(0)
    assert group.numbers() == [0]
