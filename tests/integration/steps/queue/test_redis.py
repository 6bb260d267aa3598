"""Events as entries of Redis streams, read by redis-py."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import hiredis
import pytest
from bson import Binary

from mess.demo.ports import free_port
from mess.errors import BatchError, EndpointDown, Refused
from mess.leadership import Leadership, now
from tests.conftest import servers_needed
from tests.integration.steps.queue.step import connected_too_late, opened, trust_is_needed
from tests.servers.certificates import Certificates
from tests.servers.redis import RedisServer
from tests.unit.fakes import make_event, make_events
from tests.waiting import until


def entries(server: RedisServer, stream: str) -> list[dict[bytes, bytes]]:
    with server.client() as client:
        found: Any = client.xrange(stream)
        return [fields for _, fields in found]


async def test_each_event_is_an_entry_in_order_with_id_key_body_and_headers(redis_server: RedisServer) -> None:
    events = make_events(1000)
    events[7].replay = True
    async with opened(
        redis_server.url,
        leadership=Leadership(42),
        headers={"operation": "{operation}", "odd ☃ name": "{fullDocument.n} ☃\r\n\0"},
    ) as step:
        assert await step.process(events[:500]) == events[:500]
        await step.process(events[500:])
    found = entries(redis_server, "shop.orders")
    assert [entry[b"id"].decode() for entry in found] == [event.id for event in events]
    assert [json.loads(entry[b"body"])["fullDocument"]["n"] for entry in found] == list(range(1000))
    assert found[3][b"key"] == b"000000000000000000000003"
    assert found[3][b"operation"] == b"insert"
    assert found[3]["odd ☃ name".encode()] == "3 ☃␍␊␀".encode()
    assert found[3][b"content-type"] == b"application/json"
    assert found[3][b"mess-epoch"] == b"42"
    assert [index for index, entry in enumerate(found) if b"mess-replay" in entry] == [7]


async def test_the_client_encodes_with_hiredis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a version of redis-py no longer calls what mess/steps/queue/redis_packing.py overrides."""
    pack, packed = hiredis.pack_command, Counter[str]()

    def counting(command: tuple[Any, ...]) -> bytes:
        packed[command[0]] += 1
        return pack(command)

    monkeypatch.setattr(hiredis, "pack_command", counting)
    async with opened(redis_server.url) as step:
        await step.process(make_events(10))
    assert packed["XADD"] == len(entries(redis_server, "shop.orders")) == 10


async def test_nothing_is_sent_on_a_connection_that_came_too_late(redis_server: RedisServer) -> None:
    async with opened(redis_server.url, leadership=Leadership(1, now() + 60)) as step:
        await connected_too_late(step, make_events(5))
        assert entries(redis_server, "shop.orders") == []
        await step.process(make_events(5))
    assert len(entries(redis_server, "shop.orders")) == 5


async def test_keys_of_every_kind_and_events_without_one(redis_server: RedisServer) -> None:
    events = [
        make_event(0, key={"a": 1, "b": [2]}),
        make_event(1, key=Binary(b"\x00\xff")),
        make_event(2, key=float("nan")),
        make_event(3, operation="drop"),
        make_event(4, key="naïve\r\n\0"),
    ]
    async with opened(redis_server.url) as step:
        await step.process(events)
    keys = [entry.get(b"key") for entry in entries(redis_server, "shop.orders")]
    assert keys == [b'{"a":1,"b":[2]}', b"AP8=", b"", None, "naïve␍␊␀".encode()]


async def test_targets_keys_and_cloudevents_are_the_users_choice(redis_server: RedisServer) -> None:
    async with opened(
        redis_server.url, target="orders:{fullDocument.n}", key="{db}/{documentKey._id}", format="cloudevents"
    ) as step:
        await step.process(make_events(2))
    [entry] = entries(redis_server, "orders:1")
    assert entry[b"key"] == b"shop/000000000000000000000001"
    assert json.loads(entry[b"body"])["specversion"] == "1.0"
    assert entry[b"content-type"].startswith(b"application/cloudevents+json")


async def test_a_stream_may_be_bounded(redis_server: RedisServer) -> None:
    async with opened(redis_server.url, redis={"maxlen": 10, "approximate": False}) as step:
        await step.process(make_events(500))
    assert len(entries(redis_server, "shop.orders")) == 10


async def test_a_target_that_is_no_stream_refuses_its_own_events_only(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("target:1", "text")
    async with opened(redis_server.url, target="target:{fullDocument.n}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(3))
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert "WRONGTYPE" in str(caught.value.errors[1])
    assert len(entries(redis_server, "target:0")) == len(entries(redis_server, "target:2")) == 1


async def test_an_event_of_fifteen_megabytes_arrives_whole(redis_server: RedisServer) -> None:
    event = make_event(0, big="x" * 15_000_000)
    async with opened(redis_server.url) as step:
        await step.process([event])
    [entry] = entries(redis_server, "shop.orders")
    assert json.loads(entry[b"body"])["big"] == "x" * 15_000_000


async def test_a_server_that_is_full_holds_the_events_and_takes_none_of_them(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "100kb")
        async with opened(redis_server.url) as step:
            with pytest.raises(EndpointDown, match="maxmemory"):
                await step.process(make_events(10))
            assert client.exists("shop.orders") == 0
            client.config_set("maxmemory", "0")
            await step.process(make_events(10))
    assert len(entries(redis_server, "shop.orders")) == 10


async def test_a_server_that_is_away_is_down_and_found_again(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as step:
        await step.process(make_events(1))
        redis_server.kill()
        with pytest.raises(EndpointDown, match=f"127.0.0.1:{redis_server.port}"):
            await step.process(make_events(1, first=1))
        redis_server.start()
        await step.process(make_events(1, first=1))
    assert len(entries(redis_server, "shop.orders")) == 2


async def test_a_delivery_that_is_broken_off_leaves_nothing_behind(redis_server: RedisServer) -> None:
    """What a cancelled delivery was about to say must not be taken for the next one's answer."""
    async with opened(redis_server.url) as step:
        for number in range(0, 200, 10):
            task = asyncio.create_task(step.process(make_events(10, first=number)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await step.process(make_events(5, first=1000))
    found = [json.loads(entry[b"body"])["fullDocument"]["n"] for entry in entries(redis_server, "shop.orders")]
    assert found[-5:] == list(range(1000, 1005))


@pytest.mark.parametrize("user", ["", "default:wrong", "nobody:secret"])
async def test_a_wrong_password_is_told_with_the_mend_and_not_shown(redis_server: RedisServer, user: str) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", "right")
    at = f"{user}@" if user else ""
    url = f"redis://{at}127.0.0.1:{redis_server.port}"
    async with opened(url) as step:
        for work in (step.check, lambda: step.process(make_events(1))):
            with pytest.raises(EndpointDown) as caught:
                await work()
            assert "url" in str(caught.value) or "redis://user:password@host" in str(caught.value)
            assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
            assert "secret" not in str(caught.value)


async def test_who_may_not_write_a_stream_is_refused(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pass", "~*", "+ping", "+type", "+multi", "+exec")
    async with opened(redis_server.url.replace("//", "//reader:pass@")) as step:
        with pytest.raises(Refused, match="permissions"):
            await step.process(make_events(2))


async def test_a_cluster_is_told_and_costs_no_event() -> None:
    with servers_needed():
        made = RedisServer(cluster_enabled="yes", cluster_port=str(free_port()))
    with made as server:
        async with opened(server.url, target="target:{fullDocument.n}") as step:
            with pytest.raises(EndpointDown, match="slot"):
                await step.process(make_events(1))
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                await until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")), "a cluster")
            with pytest.raises(EndpointDown, match="node of a Redis Cluster"):
                await step.process(make_events(3))


async def test_a_check_connects_and_looks_at_a_fixed_target(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("text", "x")
    async with opened(redis_server.url, target="fresh") as step:
        assert await step.check() == f"redis at 127.0.0.1:{redis_server.port} answers"
    async with opened(redis_server.url, target="text") as step:
        with pytest.raises(Refused, match="text is a string"):
            await step.check()
    redis_server.kill()
    async with opened(redis_server.url) as step:
        with pytest.raises(EndpointDown):
            await step.check()
    redis_server.start()


async def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    files = Certificates.made(tmp_path)
    with servers_needed():
        made = RedisServer(tls=files)
    with made as server:
        async with opened(server.tls_url, **files.options) as step:
            await step.process(make_events(2))
        await trust_is_needed(server.tls_url, files)
        assert len(entries(server, "shop.orders")) == 2
