"""Events as messages of MQTT topics, read by a subscriber that keeps its session."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import Binary
from paho.mqtt.client import MQTTMessage

from mess.errors import BatchError, EndpointDown, Refused
from mess.leadership import Leadership, now
from mess.steps.queue.step import QueueConfig
from tests.integration.steps.queue.step import connected_too_late, insisted, number, opened, trust_is_needed
from tests.servers.certificates import Certificates
from tests.servers.mosquitto import MosquittoServer, Subscriber
from tests.unit.fakes import make_event, make_events
from tests.waiting import until


@pytest.fixture
def subscriber(mosquitto_server: MosquittoServer) -> Iterator[Subscriber]:
    with Subscriber(mosquitto_server.port) as made:
        yield made


async def received(subscriber: Subscriber, count: int) -> list[MQTTMessage]:
    await until(lambda: len(subscriber.messages) >= count, f"{count} messages")
    return subscriber.messages


async def numbers(subscriber: Subscriber, count: int) -> list[int]:
    return [number(message.payload) for message in await received(subscriber, count)]


async def test_each_event_is_a_message_in_order_with_id_key_and_headers(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    events = make_events(1000)
    events[7].replay = True
    headers = {"operation": "{operation}", "odd ☃": "{documentKey._id} ☃\r\n\0\t"}
    options: dict[str, Any] = {"target": "{db}/{collection}", "headers": headers}
    async with opened(mosquitto_server.url, leadership=Leadership(42), **options) as step:
        assert await step.process(events[:500]) == events[:500]
        await step.process(events[500:])
    found: list[Any] = await received(subscriber, 1000)
    assert [number(message.payload) for message in found] == list(range(1000))
    assert {(message.topic, message.qos, message.retain) for message in found} == {("shop/orders", 1, False)}
    properties = [dict(message.properties.UserProperty) for message in found]
    assert [each["mess-id"] for each in properties] == [event.id for event in events]
    assert properties[3] == {
        "mess-id": events[3].id,
        "mess-key": "000000000000000000000003",
        "operation": "insert",
        "odd ☃": "000000000000000000000003 ☃␍␊␀\N{REPLACEMENT CHARACTER}",
        "mess-document": "exact",
        "mess-epoch": "42",
    }
    assert {message.properties.ContentType for message in found} == {"application/json"}
    assert [index for index, each in enumerate(properties) if "mess-replay" in each] == [7]


async def test_keys_of_every_kind_and_events_without_one(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    events = [make_event(0, key={"a": 1}), make_event(1, key=Binary(b"\x00\xff")), make_event(3, operation="drop")]
    events.append(make_event(4, key="a\r\n\0b"))
    async with opened(mosquitto_server.url) as step:
        await step.process(events)
    found: list[Any] = await received(subscriber, 4)
    assert [dict(message.properties.UserProperty).get("mess-key") for message in found] == [
        '{"a":1}',
        "AP8=",
        None,
        "a␍␊␀b",
    ]


async def test_the_older_version_has_no_place_for_headers(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url, mqtt={"version": "3.1.1"}) as step:
        await step.process(make_events(100))
    assert await numbers(subscriber, 100) == list(range(100))
    with pytest.raises(ValueError, match=r"3\.1\.1 has no headers"):
        QueueConfig.model_validate({"url": "mqtt://host", "mqtt": {"version": "3.1.1"}, "headers": {"a": "b"}})


async def test_a_topics_last_message_may_be_kept(mosquitto_server: MosquittoServer) -> None:
    async with opened(mosquitto_server.url, target="kept", mqtt={"retain": True}) as step:
        await step.process(make_events(3))
    with Subscriber(mosquitto_server.port) as late:
        assert await numbers(late, 1) == [2]


async def test_the_client_has_the_name_that_the_broker_is_to_know(mosquitto_server: MosquittoServer) -> None:
    async with opened(mosquitto_server.url, mqtt={"client_id": "relay-of-the-shop"}) as step:
        await step.process(make_events(1))
    assert "as relay-of-the-shop" in mosquitto_server.log


@pytest.mark.parametrize("topic", ["a/#", "a/+/b", "", "null\0", "line\n", "\uffff", "x" * 65_536])
async def test_what_is_no_topic_refuses_its_own_events_only(
    mosquitto_server: MosquittoServer, subscriber: Subscriber, topic: str
) -> None:
    async with opened(mosquitto_server.url, target="{to}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process([make_event(n, to=to) for n, to in enumerate(["good", topic, "good"])])
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert await numbers(subscriber, 2) == [0, 2]


async def test_a_header_that_mqtt_cannot_hold_refuses_its_own_event_only(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url, headers={"odd": "{odd}"}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process([make_event(n, odd=odd) for n, odd in enumerate(["\0\ufffe", "☃" * 22_000, "good"])])
        assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert await numbers(subscriber, 2) == [0, 2]


async def test_an_event_of_fifteen_megabytes_arrives_whole(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url) as step:
        await step.process([make_event(0, big="x" * 15_000_000)])
    [message] = await received(subscriber, 1)
    assert len(message.payload) > 15_000_000


async def test_a_message_beyond_the_brokers_limit_is_refused_alone(mosquitto_server: MosquittoServer) -> None:
    mosquitto_server.stop()
    mosquitto_server.configure("allow_anonymous true\nmax_packet_size 100000")
    mosquitto_server.start()
    with Subscriber(mosquitto_server.port) as subscriber:
        async with opened(mosquitto_server.url) as step:
            with pytest.raises(BatchError) as caught:
                await step.process([make_event(0), make_event(1, big="x" * 100_000), make_event(2)])
        assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
        assert "exceed the broker's limit of 100000" in str(caught.value.errors[1])
        assert await numbers(subscriber, 2) == [0, 2]


async def test_a_broker_that_takes_few_at_a_time_gets_no_more(mosquitto_server: MosquittoServer) -> None:
    mosquitto_server.stop()
    mosquitto_server.configure("allow_anonymous true\nmax_inflight_messages 3")
    mosquitto_server.start()
    with Subscriber(mosquitto_server.port) as subscriber:
        async with opened(mosquitto_server.url) as step:
            await step.process(make_events(500))
        assert await numbers(subscriber, 500) == list(range(500))


async def test_nothing_is_sent_on_a_connection_that_came_too_late(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url, leadership=Leadership(1, now() + 60)) as step:
        await connected_too_late(step, make_events(5))
        await step.process(make_events(5, first=5))
    assert await numbers(subscriber, 5) == list(range(5, 10))


class Short(Leadership):
    """Lapses when it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__(1)
        self.looks = looks

    @property
    def lapsed(self) -> bool:
        self.looks -= 1
        return self.looks < 0


async def test_the_messages_that_the_client_still_holds_are_not_sent_after_the_lapse(
    mosquitto_server: MosquittoServer,
) -> None:
    """Of a mini-batch it sends as many as the broker takes at a time, and one more for each acknowledgement."""
    mosquitto_server.stop()
    mosquitto_server.configure("allow_anonymous true\nmax_inflight_messages 3")
    mosquitto_server.start()
    with Subscriber(mosquitto_server.port) as subscriber:
        async with opened(mosquitto_server.url, leadership=Short(10)) as step:
            with pytest.raises((BatchError, EndpointDown)):
                await step.process(make_events(500))
            await asyncio.sleep(0.2)
        async with opened(mosquitto_server.url) as step:
            await step.process(make_events(1, first=1000))
        await until(lambda: number(subscriber.messages[-1].payload) == 1000, "what follows")
        assert 0 < len(subscriber.messages) < 100


async def test_who_may_not_publish_is_refused(mosquitto_server: MosquittoServer) -> None:
    """This Mosquitto hangs up after such an answer: what it has answered before holds all the same."""
    rules = mosquitto_server.folder / "acl"
    rules.write_text("topic read #\ntopic write allowed\n")
    mosquitto_server.stop()
    mosquitto_server.configure(f"allow_anonymous true\nacl_file {rules}")
    mosquitto_server.start()
    with Subscriber(mosquitto_server.port) as subscriber:
        async with opened(mosquitto_server.url, target="{to}") as step:
            with pytest.raises(BatchError) as caught:
                await step.process([make_event(n, to=to) for n, to in enumerate(["allowed", "secret"])])
            assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
            assert "Not authorized" in str(caught.value.errors[1])
            await insisted(step, [make_event(2, to="allowed")])
        assert await numbers(subscriber, 2) == [0, 2]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_wrong_password_is_told_with_the_mend_and_not_shown(
    mosquitto_server: MosquittoServer, version: str
) -> None:
    passwords = mosquitto_server.folder / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", str(passwords), "mess", "right p@ss"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    mosquitto_server.stop()
    mosquitto_server.configure(f"allow_anonymous false\npassword_file {passwords}")
    mosquitto_server.start()
    for user in ("", "mess:wrong@", "nobody:secret@"):
        url = mosquitto_server.url.replace("//", f"//{user}")
        async with opened(url, mqtt={"version": version}) as step:
            with pytest.raises(EndpointDown, match=r"rejects the login.*; fix the user and password") as caught:
                await step.check()
        assert "wrong" not in str(caught.value)
        assert "secret" not in str(caught.value)
    url = mosquitto_server.url.replace("//", "//mess:right%20p%40ss@")
    async with opened(url, mqtt={"version": version}) as step:
        assert await step.check() == f"mqtt at 127.0.0.1:{mosquitto_server.port} answers"


async def test_a_broker_that_is_away_is_down_and_found_again(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url) as step:
        await step.process(make_events(1))
        await received(subscriber, 1)
        mosquitto_server.stop()
        for _ in range(2):
            with pytest.raises(EndpointDown, match=f"127.0.0.1:{mosquitto_server.port}"):
                await step.process(make_events(1, first=1))
        mosquitto_server.start()
        await insisted(step, make_events(1, first=1))
    assert await numbers(subscriber, 2) == [0, 1]


async def test_an_answer_that_does_not_come_in_time_is_waited_for_no_longer(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url, timeout="300ms") as step:
        await step.process(make_events(1))
        mosquitto_server.pause()
        try:
            with pytest.raises(EndpointDown, match=r"no confirmation within 0\.3 s"):
                await step.process(make_events(1, first=1))
            with pytest.raises(EndpointDown):  # nor is it greeted
                await step.process(make_events(1, first=2))
        finally:
            mosquitto_server.resume()
        await insisted(step, make_events(1, first=3))
    await until(lambda: 3 in {number(message.payload) for message in subscriber.messages}, "the last event")


async def test_a_delivery_that_is_broken_off_harms_no_other(
    mosquitto_server: MosquittoServer, subscriber: Subscriber
) -> None:
    async with opened(mosquitto_server.url) as step:
        for start in range(0, 200, 10):
            task = asyncio.create_task(step.process(make_events(10, first=start)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await step.process(make_events(5, first=1000))
    await until(lambda: bool(subscriber.messages) and number(subscriber.messages[-1].payload) == 1004, "the last")
    assert [number(message.payload) for message in subscriber.messages][-5:] == list(range(1000, 1005))


async def test_an_idle_connection_is_kept(mosquitto_server: MosquittoServer, subscriber: Subscriber) -> None:
    async with opened(mosquitto_server.url, mqtt={"keepalive": 1, "client_id": "idle"}) as step:
        await step.process(make_events(1))
        connections = mosquitto_server.log.count("as idle")
        await until(lambda: mosquitto_server.log.count("PINGREQ from idle") >= 2, "pings")
        await step.process(make_events(1, first=1))
    assert await numbers(subscriber, 2) == [0, 1]
    assert mosquitto_server.log.count("as idle") == connections


# The client leaves the closing of a socket whose handshake fails to the garbage collection.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_tls_with_a_client_certificate(mosquitto_server: MosquittoServer, tmp_path: Path) -> None:
    files = Certificates.made(tmp_path)
    mosquitto_server.stop()
    mosquitto_server.configure("allow_anonymous true", tls=files)
    mosquitto_server.start()
    async with opened(mosquitto_server.tls_url, target="kept", mqtt={"retain": True}, **files.options) as step:
        await step.process(make_events(500))
        assert await step.check()
    with Subscriber(mosquitto_server.port) as late:
        assert await numbers(late, 1) == [499]
    await trust_is_needed(mosquitto_server.tls_url, files)
    client = files.options["client_certificate"]
    async with opened(mosquitto_server.tls_url, verify=False, client_certificate=client) as step:
        assert await step.check()
    gc.collect()
