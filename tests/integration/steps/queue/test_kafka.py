"""Events as records of Kafka topics, read by Kafka's own consumer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import pytest
from bson import Binary

from mess.errors import BatchError, EndpointDown, Refused
from mess.leadership import Leadership
from tests.conftest import servers_needed
from tests.integration.steps.queue import step as queue_step
from tests.integration.steps.queue.step import insisted, number
from tests.servers.certificates import Certificates
from tests.servers.kafka import KafkaServer
from tests.unit.fakes import make_event, make_events

opened = partial(queue_step.opened, timeout="20s")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka(certificates: Certificates) -> Iterator[KafkaServer]:
    """A broker that makes no topics by itself; these are there."""
    with servers_needed():
        made = KafkaServer(tls=certificates, auto_create_topics_enable="false")
    with made as server:
        server.create("secure", "one", "keys", "gzip", "snappy", "lz4", "zstd", "tombs", "large", "sound")
        yield server


async def test_each_event_is_a_record_in_order_of_its_key_with_id_and_headers(kafka: KafkaServer) -> None:
    events = [make_event(n, key=f"doc-{n % 20}") for n in range(1000)]
    events[7].replay = True
    async with opened(
        kafka.url,
        leadership=Leadership(42),
        target="one",
        headers={"operation": "{operation}", "odd ☃": "{fullDocument.n} ☃\r\n\0"},
    ) as step:
        await asyncio.gather(step.process(events[:500]))
        await step.process(events[500:])
    records = kafka.records("one")
    assert {dict(record.headers())["mess-id"].decode() for record in records} == {event.id for event in events}
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for record in records:
        by_key[record.key()].append(number(record.value()))
    assert by_key == {f"doc-{k}".encode(): list(range(k, 1000, 20)) for k in range(20)}
    headers = {number(record.value()): dict(record.headers()) for record in records}
    assert headers[3]["odd ☃"].decode() == "3 ☃␍␊␀"
    assert headers[3]["operation"] == b"insert"
    assert headers[3]["mess-epoch"] == b"42"
    assert headers[3]["content-type"] == b"application/json"
    assert [n for n, found in headers.items() if "mess-replay" in found] == [7]


async def test_keys_of_every_kind_and_events_without_one(kafka: KafkaServer) -> None:
    events = [make_event(0, key={"a": 1}), make_event(1, key=Binary(b"\x00\xff")), make_event(3, operation="drop")]
    events.append(make_event(4, key="a\r\n\0b"))
    async with opened(kafka.url, target="keys") as step:
        await step.process(events)
    assert {record.key() for record in kafka.records("keys")} == {b'{"a":1}', b"AP8=", None, "a␍␊␀b".encode()}


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_may_be_compressed(kafka: KafkaServer, compression: str) -> None:
    async with opened(kafka.url, target=compression, kafka={"compression": compression}) as step:
        await step.process(make_events(100))
    assert sorted(number(each.value()) for each in kafka.records(compression)) == list(range(100))


async def test_a_deletion_may_be_a_tombstone(kafka: KafkaServer) -> None:
    async with opened(kafka.url, target="tombs", kafka={"tombstones": True}) as step:
        await step.process([make_event(0, key="a"), make_event(1, key="a", operation="delete")])
    [first, second] = kafka.records("tombs")
    assert (second.key(), second.value()) == (b"a", None)
    assert first.value() is not None


async def test_a_record_that_is_too_large_is_refused_and_the_others_arrive(kafka: KafkaServer) -> None:
    events = make_events(5)
    events[2].body = {**events[2].body, "big": "x" * 2_000_000}
    events[4].body = {**events[4].body, "big": "x" * 30_000_000}
    async with opened(kafka.url, target="large") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {2: Refused, 4: Refused}
    assert "MSG_SIZE_TOO_LARGE" in str(caught.value.errors[2])
    assert sorted(number(each.value()) for each in kafka.records("large")) == [0, 1, 3]


@pytest.mark.parametrize("topic", ["no such topic!", "☃", "", "..", "null\0", "x" * 250, "x" * 600])
async def test_what_is_no_topic_refuses_its_own_events_only(kafka: KafkaServer, topic: str) -> None:
    before = len(kafka.records("sound"))
    async with opened(kafka.url, target="{to}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process([make_event(n, key="one", to=to) for n, to in enumerate(["sound", topic, "sound"])])
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert [number(record.value()) for record in kafka.records("sound")[before:]] == [0, 2]


async def test_the_check_looks_for_the_topic(kafka: KafkaServer) -> None:
    async with opened(kafka.url, target="no such topic!") as step:
        with pytest.raises(Refused, match="no such topic!"):
            await step.check()


async def test_a_topic_that_is_missing_is_refused_with_the_remedy(kafka: KafkaServer) -> None:
    async with opened(kafka.url, target="missing") as step:
        with pytest.raises(Refused, match=r"topic missing: .*; create it, or choose another"):
            await step.check()
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(2))
    assert [type(error) for error in caught.value.errors.values()] == [Refused, Refused]


async def test_a_check_says_what_it_found(kafka: KafkaServer) -> None:
    async with opened(kafka.url) as step:
        assert await step.check() == f"kafka at {kafka.address} answers"


async def test_a_broker_that_is_away_is_down_and_found_again_with_nothing_inverted(kafka_server: KafkaServer) -> None:
    events = make_events(500)
    async with opened(kafka_server.url) as step:
        await step.process(events[:10])
        kafka_server.kill()
        with pytest.raises(EndpointDown, match=kafka_server.address):
            await step.process(events[10:])
        with pytest.raises(EndpointDown, match="make sure that it is running"):
            await step.check()
        kafka_server.start()
        await insisted(step, events[10:])
    seen = {number(record.value()) for record in kafka_server.records("shop.orders")}
    assert seen == set(range(500))


async def test_a_delivery_that_is_broken_off_is_not_sent_later(kafka_server: KafkaServer) -> None:
    """What is given up while no broker is there must not arrive behind what comes next."""
    async with opened(kafka_server.url, target="late") as step:
        kafka_server.kill()
        task = asyncio.create_task(step.process([make_event(1, key="a")]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, EndpointDown)):  # it may just have found out by itself
            await task
        kafka_server.start()
        await insisted(step, [make_event(2, key="a")])
    assert [number(record.value()) for record in kafka_server.records("late")] == [2]


async def test_tls_with_a_client_certificate(kafka: KafkaServer, certificates: Certificates) -> None:
    async with opened(kafka.tls_url, target="secure", **certificates.options) as step:
        await step.process(make_events(2))
    await queue_step.trust_is_needed(kafka.tls_url, certificates, target="secure", timeout="3s")
    assert len(kafka.records("secure")) == 2
