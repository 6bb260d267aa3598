"""What users see of a worker: its group, with the lag of its partitions, which are its streams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import Consumer
from structlog.testing import capture_logs

from mess.relay.kafka import group_watch
from tests.integration.admin.conftest import api_of, eventually
from tests.integration.worker.conftest import Group
from tests.waiting import until


async def test_a_worker_shows_its_group_and_the_pipelines_that_its_partitions_feed(group: Group) -> None:
    group.write(40)
    async with group.running(admin={"port": 0}) as worker, api_of(worker) as api:

        async def ready() -> Any:
            status = await api.ok("/status")
            shown = status["group"]
            return status if status["ready"] and shown["members"] == 1 and shown["lag"] == 0 else None

        status = await eventually(ready, "the worker has caught up")
        shown, partitions = status["group"], group.broker.PARTITIONS
        assert (shown["name"], shown["topics"], shown["partitions"]) == (group.name, [group.topic], partitions)
        assert shown["member"]
        assert shown["heartbeat_age_seconds"] < 5
        assert len(shown["assigned"]) == partitions
        names = {f"{each['topic']}[{each['partition']}]" for each in shown["assigned"]}
        assert {stream["name"] for stream in status["streams"]} == names
        assert all(stream["pipelines"] == ["top level"] for stream in status["streams"])
        assert set(status["pipelines"][0]["streams"]) == names
        assert status["role"] is None
        stream = min(names)
        [paused] = (await api.ok("/pause", {"stream": stream}))["pauses"]
        assert (paused["target"]["stream"], paused["applies"]) == (stream, True)


async def test_a_worker_without_a_partition_is_ready(group: Group, protocol: str) -> None:
    """Or a rolling update would wait for it forever. It gets the partition of one that ends."""
    group.topic = f"{group.topic}-one"
    group.broker.create(group.topic, partitions=1)
    kafka = {"config": {"group.protocol": protocol}}
    async with group.running(kafka=kafka) as first:
        await until(lambda: not first.status.problems(), "the first is not ready", 30)
        async with group.running(kafka=kafka) as second:
            async with asyncio.timeout(30):
                await second.ready()
            await until(lambda: not second.status.problems(), "the second is not ready", 30)
            assert [len(each.group.assigned) for each in (first, second) if each.group is not None] == [1, 0]
            first.stop()
            await until(lambda: second.group is not None and len(second.group.assigned) == 1, "it is not assigned", 30)
            group.write(10)
            await group.receiver.wait_for_events(10, 20)


async def test_another_program_with_the_same_group_is_warned_of(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a share of the records, which are then not delivered."""
    monkeypatch.setattr(group_watch, "_ASK_AGAIN", 0.2)
    with capture_logs() as logs:
        await _joined_by_another_program(group)
    logged = [each["event"] for each in logs if "billing at" in f"{each}"]
    assert len(logged) == 2, "when it comes, and when it goes"
    assert "give each program a group of its own" in logged[0]


async def _joined_by_another_program(group: Group) -> None:
    async with group.running(admin={"port": 0}) as worker, api_of(worker) as api:
        settings = {"bootstrap.servers": group.broker.address, "group.id": group.name, "client.id": "billing"}
        other = Consumer({**settings, "group.protocol": "consumer", "log_level": 0})
        other.subscribe([group.topic])

        async def warned() -> Any:
            await asyncio.to_thread(other.poll, 0.1)
            return [text for text in (await api.ok("/status"))["warnings"] if "billing at 127.0.0.1" in text]

        try:
            [warning] = await eventually(warned, "a warning")
        finally:
            await asyncio.to_thread(other.close)
        assert f"another program reads with the group {group.name}" in warning

        async def gone() -> Any:
            return not (await api.ok("/status"))["warnings"]

        await eventually(gone, "no warning")
