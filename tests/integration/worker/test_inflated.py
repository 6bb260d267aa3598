"""A batch that is too large once it is uncompressed."""

from __future__ import annotations

import asyncio

from confluent_kafka import Producer
from structlog.testing import capture_logs

from tests.integration.worker.conftest import Group, change
from tests.waiting import until


async def test_one_partition_waits_and_says_what_helps_while_others_go_on(group: Group) -> None:
    producer = Producer({"bootstrap.servers": group.broker.address, "compression.type": "zstd", "log_level": 0})
    for n in range(6):
        producer.produce(group.topic, change(n, 0, "x" * 900_000), b"0", 0)
    producer.flush(20)
    small = {
        "config": {"message.max.bytes": 900_000, "fetch.max.bytes": 900_000, "receive.message.max.bytes": 1_000_000}
    }
    with capture_logs() as logs:
        async with group.running(kafka=small) as worker:
            name = f"{group.topic}[0]: "
            await until(lambda: any(name in problem for problem in worker.status.problems()), "no problem shown", 30)
            for n in range(20, 40):
                group.put(change(n, 1), "1", 1)
                group.flush()
                await asyncio.sleep(0.1)
            await group.receiver.wait_for_events(20, 30)
            assert any("source.kafka.config.receive.message.max.bytes" in each for each in worker.status.problems())
    assert group.committed()[1] == 20
    assert [each["event"] for each in logs].count("Kafka cannot be read at present") == 1
    async with group.running():
        await group.receiver.wait_for_events(26, 30)
    assert sorted(group.numbers()) == [*range(6), *range(20, 40)]
