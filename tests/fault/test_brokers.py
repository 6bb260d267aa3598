"""A broker is killed and restarted under load, and the relay in turn with it: nothing is lost, and the order holds."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from tests.fault.conftest import Setting
from tests.fault.load import Load
from tests.servers.kafka import KafkaServer
from tests.servers.redis import RedisServer
from tests.waiting import PATIENCE, until

STREAM = "changes"


def changes(server: RedisServer | KafkaServer) -> list[tuple[int, int, str]]:
    """Document, count and id of every entry, in the stream's order, or in each partition's."""
    if isinstance(server, KafkaServer):
        return [_change(record.value(), dict(record.headers())["mess-id"]) for record in server.records(STREAM)]
    with server.client() as client:
        entries: Any = client.xrange(STREAM)
    return [_change(fields[b"body"], fields[b"id"]) for _, fields in entries]


def publishing(server: RedisServer | KafkaServer, **options: Any) -> dict[str, Any]:
    """A step that publishes to the broker."""
    return {"name": "queue", "config": {"url": server.url, "target": STREAM, **options}}


async def grown(server: RedisServer | KafkaServer, count: int, timeout: float = PATIENCE) -> None:
    """Return when so many more entries are there."""
    seen = len(changes(server))
    await until(lambda: len(changes(server)) > seen + count, "more changes", timeout)


def _change(data: bytes, identity: bytes) -> tuple[int, int, str]:
    body = json.loads(data)
    update = body["operationType"] == "update"
    count = body["updateDescription"]["updatedFields"]["n"] if update else body["fullDocument"]["n"]
    return body["documentKey"]["_id"], count, identity.decode()


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


async def arrived(server: RedisServer | KafkaServer, load: Load, timeout: float = 30) -> list[tuple[int, int, str]]:
    """All entries, as soon as every change is there."""
    await until(lambda: not load.running, "the load's end")
    await until(lambda: len({each[:2] for each in changes(server)}) >= load.total, "every change", timeout)
    return changes(server)


async def test_redis_killed_and_restarted_under_load(setting: Setting, redis_server: RedisServer) -> None:
    step = publishing(redis_server, timeout="5s")
    load = Load(setting.url, setting.database, documents=40, pause=0.02)
    async with setting.relay("", pipeline=[step]) as relay:
        load.start()
        for _ in range(5):
            await grown(redis_server, 200)
            redis_server.kill()
            await asyncio.sleep(0.7)
            assert await relay.reasons()
            await asyncio.to_thread(redis_server.start)
        load.finish()
        check(await arrived(redis_server, load), load)
        await relay.ready()
        assert await relay.stop() == 0
    assert not setting.dead_letters()


async def test_relay_and_redis_killed_in_turn_ten_times(setting: Setting, redis_server: RedisServer) -> None:
    step = publishing(redis_server, timeout="5s")
    load = Load(setting.url, setting.database, documents=40, pause=0.02)
    async with setting.relay("", pipeline=[step]) as relay:
        load.start()
        for turn in range(10):
            await grown(redis_server, 100, 30)
            if turn % 2:
                relay.kill()
                await relay.start(ready=False)
            else:
                redis_server.kill()
                await asyncio.to_thread(redis_server.start)
        load.finish()
        check(await arrived(redis_server, load), load)
        assert await relay.stop() == 0
    assert not setting.dead_letters()


async def test_relay_and_kafka_killed_in_turn_ten_times(setting: Setting, kafka_server: KafkaServer) -> None:
    step = publishing(kafka_server)
    load = Load(setting.url, setting.database, documents=40, pause=0.05)
    async with setting.relay("", pipeline=[step]) as relay:
        load.start()
        for turn in range(10):
            rounds = load.rounds
            await until(lambda: load.rounds > rounds + 15, "more writes", 30)  # noqa: B023 - awaited here
            if turn % 2:
                relay.kill()
                await relay.start(ready=False)
            else:
                kafka_server.kill()
                await asyncio.to_thread(kafka_server.start)
        load.finish()
        check(await arrived(kafka_server, load, 60), load)
        await relay.ready()
        assert await relay.stop() == 0
    assert not setting.dead_letters()
