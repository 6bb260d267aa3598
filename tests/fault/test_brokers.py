"""A broker is killed and restarted under load, and the relay in turn with it: nothing is lost, and the order holds."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fault.conftest import Setting
from tests.fault.load import Load
from tests.fault.readers import READERS, TARGET, Reader, Redis
from tests.servers.redis import RedisServer
from tests.waiting import PATIENCE, until


def changes(reader: Reader) -> list[tuple[int, int, str]]:
    """Document, count and id of every message."""
    found = []
    for data, identity in reader.read():
        body = json.loads(data)
        update = body["operationType"] == "update"
        count = body["updateDescription"]["updatedFields"]["n"] if update else body["fullDocument"]["n"]
        found.append((body["documentKey"]["_id"], count, identity))
    return found


def publishing(reader: Reader, **options: Any) -> dict[str, Any]:
    """A step that publishes to the broker."""
    config = {"url": reader.server.url, "target": TARGET, "timeout": "5s", **reader.options, **options}
    return {"name": "queue", "config": config}


def check(found: list[tuple[int, int, str]], load: Load) -> None:
    """Every change is there under one id, and each document's first deliveries are in order."""
    ids: dict[tuple[int, int], str] = {}
    first: dict[int, list[int]] = defaultdict(list)
    for key, count, identity in found:
        if (key, count) not in ids:
            first[key].append(count)
        assert ids.setdefault((key, count), identity) == identity, "a change came under two ids"
    assert set(ids) == {(key, count) for key in range(load.documents) for count in range(load.rounds)}
    assert all(counts == sorted(counts) for counts in first.values()), "a document's changes came out of order"


async def arrived(reader: Reader, load: Load) -> list[tuple[int, int, str]]:
    """All messages, as soon as every change is there."""
    await until(lambda: not load.running, "the load's end")
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            found = await asyncio.to_thread(changes, reader)
            if len({each[:2] for each in found}) >= load.total:
                return found
            await asyncio.sleep(0.2)


@pytest.fixture(params=sorted(READERS))
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
            seen = len(changes(reader))
            await until(lambda: len(changes(reader)) > seen + 200, "more changes")  # noqa: B023 - awaited here
            reader.kill()
            await asyncio.sleep(0.7)
            assert await relay.reasons()
            await asyncio.to_thread(redis_server.start)
        load.finish()
        check(await arrived(reader, load), load)
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
        check(await arrived(reader, load), load)
        await relay.ready()
        assert await relay.stop() == 0
    assert not setting.dead_letters()
