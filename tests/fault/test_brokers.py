"""A broker is killed and restarted under load, and the relay in turn with it: nothing is lost, and the order holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.checker.verdict import Arrival
from tests.fault.conftest import Setting
from tests.fault.load import Load
from tests.fault.readers import READERS, TARGET, Reader, Redis
from tests.servers.redis import RedisServer
from tests.waiting import PATIENCE, until


def arrivals(reader: Reader) -> list[Arrival]:
    """Every message."""
    return [Arrival.of(identity, json.loads(body)) for body, identity in reader.read()]


def publishing(reader: Reader, **options: Any) -> dict[str, Any]:
    """A step that publishes to the broker."""
    config = {"url": reader.server.url, "target": TARGET, "timeout": "5s", **reader.options, **options}
    return {"name": "queue", "config": config}


async def arrived(reader: Reader, load: Load) -> list[Arrival]:
    """All messages, as soon as every change is there, or what there is after a while."""
    await until(lambda: not load.running, "the load's end")
    deadline = time.monotonic() + 2 * PATIENCE
    while True:
        found = await asyncio.to_thread(arrivals, reader)
        if len({each.id for each in found}) >= load.total or time.monotonic() > deadline:
            return found  # too few are told by the load's check
        await asyncio.sleep(0.2)


def _several(*frequent: str) -> list[Any]:
    """All brokers, of which only the `frequent` ones are not left to `make test-long`."""
    return [name if name in frequent else pytest.param(name, marks=pytest.mark.long) for name in sorted(READERS)]


@pytest.fixture(params=_several("nats_server", "redis_server"))
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    with READERS[request.param](request.getfixturevalue(request.param)) as made:
        yield made


async def test_a_broker_that_is_killed_under_load_is_told_and_found_again(
    setting: Setting, redis_server: RedisServer
) -> None:
    reader = Redis(redis_server)
    load = Load(setting.url, setting.database, documents=40, pause=0.02)
    async with setting.relay("", pipeline=[publishing(reader)]) as relay:
        load.start()
        for _ in range(3):
            seen = len(arrivals(reader))
            await until(lambda: len(arrivals(reader)) > seen + 200, "more changes")  # noqa: B023 - awaited here
            reader.kill()
            await asyncio.sleep(0.7)
            assert await relay.reasons()
            await asyncio.to_thread(redis_server.start)
        load.finish()
        load.check(await arrived(reader, load))
        await relay.ready()
        assert await relay.stop() == 0
    assert not setting.dead_letters()


async def test_relay_and_broker_killed_in_turn(setting: Setting, reader: Reader) -> None:
    load = Load(setting.url, setting.database, documents=40, pause=0.05)
    async with setting.relay("", pipeline=[publishing(reader)]) as relay:
        load.start()
        for turn in range(reader.turns):
            rounds = load.rounds
            await until(lambda: load.rounds > rounds + 15, "more writes", 30)  # noqa: B023 - awaited here
            if turn % 2:
                relay.kill()
                await relay.start(ready=False)
            else:
                await asyncio.to_thread(reader.kill)
                await asyncio.to_thread(reader.server.start)
        load.finish()
        load.check(await arrived(reader, load))
        await relay.ready()
        assert await relay.stop() == 0
    assert not setting.dead_letters()
