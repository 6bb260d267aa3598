"""What users see of a worker: its group, with the lag of its partitions, which are its streams."""

from __future__ import annotations

from typing import Any

from tests.integration.admin.conftest import api_of, eventually
from tests.integration.worker.conftest import Group


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
    """There are more workers than partitions: one of them stands by."""
    topic = f"one-{group.topic}"
    group.broker.create(topic, partitions=1)
    options: dict[str, Any] = {
        "kafka": {"topics": [topic], "config": {"group.protocol": protocol}},
        "admin": {"port": 0},
    }
    async with (
        group.running(**options) as first,
        api_of(first) as one,
        group.running(**options) as second,
        api_of(second) as two,
    ):

        async def ready() -> Any:
            found = [await api.ok("/status") for api in (one, two)]
            return found if all(each["ready"] and each["group"]["member"] for each in found) else None

        found = await eventually(ready, "both workers are ready")
    assert sorted(len(each["group"]["assigned"]) for each in found) == [0, 1]
