"""A broker that is silent: what it may have given to another member is not delivered."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.integration.worker.conftest import Group, in_order
from tests.receiver import Answer, Receiver
from tests.servers.kafka import KafkaServer
from tests.waiting import until

SESSION = 6.0


@pytest.mark.long
async def test_nothing_is_delivered_after_a_silence_of_four_fifths_of_the_session(
    kafka_server: KafkaServer, tmp_path: Path, receiver: Receiver, protocol: str
) -> None:
    group = Group(kafka_server, tmp_path, receiver)
    receiver.answer = Answer(delay=0.2)
    group.write(600)
    kafka = {"config": {"group.protocol": protocol}, "session_timeout": "6s"}
    async with group.running(kafka=kafka, concurrency=2) as worker:
        await receiver.wait_for_events(10, 60)
        await asyncio.sleep(1)
        kafka_server.pause()
        try:
            silent = time.time()
            await until(lambda: worker.leadership is not None and worker.leadership.lapsed, "it goes on", SESSION + 4)
            lapsed = time.time()
            await asyncio.sleep(0.5)  # for what was in flight
            arrived = len(receiver.requests)
            await asyncio.sleep(2)
            assert len(receiver.requests) == arrived
        finally:
            kafka_server.resume()
        assert lapsed - silent <= 0.8 * SESSION + 0.5
        receiver.answer = Answer()
        await receiver.wait_for_events(600, 120)
    assert in_order(group.numbers())
