"""A worker: reads its partitions from where the group is, delivers, and commits what is done."""

from __future__ import annotations

import asyncio

import pytest

from mess.errors import ConfigError
from tests.integration.worker.conftest import Group, in_order
from tests.receiver import Answer
from tests.waiting import until


async def test_all_changes_are_delivered_and_committed(group: Group, protocol: str) -> None:
    group.write(200)
    async with group.running(kafka={"config": {"group.protocol": protocol}}) as worker:
        await group.receiver.wait_for_events(200, 30)
        await until(lambda: sum(group.committed().values()) == 200, "not all offsets are committed")
        assert worker.group is not None
        assert (worker.group.protocol, len(worker.group.assigned)) == (protocol, 4)
    assert sorted(group.numbers()) == list(range(200))
    assert in_order(group.numbers())


async def test_the_next_worker_continues_where_the_last_one_ended(group: Group) -> None:
    group.write(50)
    async with group.running():
        await group.receiver.wait_for_events(50, 30)
    group.write(50)
    async with group.running():
        await group.receiver.wait_for_events(100, 30)
    assert sorted(group.numbers()) == list(range(100))


async def test_what_is_not_done_is_not_committed(group: Group) -> None:
    group.receiver.answer = Answer(503)
    group.write(50)
    async with group.running(shutdown_grace="200ms"):
        await group.receiver.wait_for(3, 30)
        await asyncio.sleep(0.3)
    assert sum(group.committed().values()) == 0
    group.receiver.answer = Answer()
    async with group.running():
        await group.receiver.wait_for_events(50, 30)


async def test_a_new_group_that_starts_now_begins_with_what_is_written_from_then_on(group: Group) -> None:
    group.write(40)
    async with group.running(kafka={"start": "now"}):
        await until(lambda: len(group.committed()) == 4, "the places are not committed", 30)
    group.write(10)  # while no worker runs
    async with group.running(kafka={"start": "now"}):
        await group.receiver.wait_for_events(10, 30)
    assert sorted(group.numbers()) == list(range(40, 50))


async def test_a_record_that_cannot_be_read_is_kept_and_holds_up_nothing(group: Group) -> None:
    group.write(10)
    group.put(b"{not JSON", "7")
    group.write(10)
    async with group.running() as worker:
        await group.receiver.wait_for_events(20, 30)
        assert worker.store is not None
        gaps = await worker.store.gaps()
        letters = [letter async for letter in worker.store.dead_letters()]
    assert [gap.kind for gap in gaps] == ["unreadable"]
    assert gaps[0].stream.startswith(f"{group.topic}[")
    assert len(letters) == 1


async def test_without_the_library_the_error_names_the_package(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"pip install 'mess\[kafka\]'"):
        await group.worker().run()
