"""Events as messages of RabbitMQ's queues, read by RabbitMQ's own client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from bson import Binary

from mess.errors import BatchError, EndpointDown, Refused
from mess.leadership import Leadership, now
from mess.steps.queue.step import Queue
from tests.conftest import servers_needed
from tests.integration.steps.queue.step import connected_too_late, insisted, number, opened, trust_is_needed
from tests.servers.certificates import Certificates
from tests.servers.rabbitmq import RabbitServer
from tests.unit.fakes import make_event, make_events


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def rabbit(certificates: Certificates) -> Iterator[RabbitServer]:
    """A server that the tests share, each with queues of its own: it takes long to start."""
    with servers_needed():
        made = RabbitServer(tls=certificates, max_message_size="16000000")
    with made as server:
        yield server


def numbers(server: RabbitServer, queue: str) -> list[int]:
    return [number(body) for _, body in server.messages(queue)]


async def test_each_event_is_a_persistent_message_in_order_with_id_key_and_headers(rabbit: RabbitServer) -> None:
    rabbit.declare("each")
    events = make_events(1000)
    events[7].replay = True
    async with opened(
        rabbit.url,
        leadership=Leadership(42),
        target="each",
        headers={"operation": "{operation}", "odd ☃": "{documentKey._id}\r\n\0"},
    ) as step:
        assert await step.process(events[:500]) == events[:500]
        await step.process(events[500:])
    found = rabbit.messages("each")
    assert [properties.message_id for properties, _ in found] == [event.id for event in events]
    assert [number(body) for _, body in found] == list(range(1000))
    properties = found[3][0]
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert properties.headers == {
        "mess-key": "000000000000000000000003",
        "operation": "insert",
        "odd ☃": "000000000000000000000003␍␊␀",
        "mess-document": "exact",
        "mess-epoch": "42",
    }
    assert [index for index, (one, _) in enumerate(found) if "mess-replay" in one.headers] == [7]


async def test_keys_of_every_kind_and_events_without_one(rabbit: RabbitServer) -> None:
    rabbit.declare("keys")
    events = [make_event(0, key={"a": 1}), make_event(1, key=Binary(b"\x00\xff")), make_event(3, operation="drop")]
    events.append(make_event(4, key="a\r\n\0b"))
    async with opened(rabbit.url, target="keys") as step:
        await step.process(events)
    keys = [properties.headers.get("mess-key") for properties, _ in rabbit.messages("keys")]
    assert keys == ['{"a":1}', "AP8=", None, "a␍␊␀b"]


async def test_nothing_is_sent_on_a_connection_that_came_too_late(rabbit: RabbitServer) -> None:
    rabbit.declare("too-late")
    async with opened(rabbit.url, target="too-late", leadership=Leadership(1, now() + 60)) as step:
        await connected_too_late(step, make_events(5))
        await step.process(make_events(5, first=5))
    assert numbers(rabbit, "too-late") == list(range(5, 10))


@pytest.mark.parametrize("kind", ["quorum", "classic", "stream"])
async def test_queues_are_declared_and_bound_on_request(rabbit: RabbitServer, kind: str) -> None:
    exchange, queue = f"changes-{kind}", f"made.{kind}.orders"
    with rabbit.channel() as channel:
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_declare(f"all-{kind}", durable=True)
        channel.queue_bind(f"all-{kind}", exchange, "made.#")
    options = {"exchange": exchange, "declare": kind}
    async with opened(rabbit.url, target=f"made.{kind}.{{collection}}", rabbitmq=options) as step:
        await step.process(make_events(3))
    assert numbers(rabbit, f"all-{kind}") == [0, 1, 2]
    if kind != "stream":  # which is not read by basic.get
        assert numbers(rabbit, queue) == [0, 1, 2]
    with rabbit.channel() as channel:
        assert channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})


async def test_a_queue_that_is_declared_otherwise_already_is_told(rabbit: RabbitServer) -> None:
    rabbit.declare("otherwise")
    async with opened(rabbit.url, target="otherwise", rabbitmq={"declare": "quorum"}) as step:
        with pytest.raises(EndpointDown, match="leave out `declare`"):
            await step.process(make_events(1))


@pytest.mark.parametrize("name", ["amq.reserved", "x" * 256, ""])
async def test_an_event_that_names_a_queue_that_cannot_be_is_refused_alone(rabbit: RabbitServer, name: str) -> None:
    events = [make_event(number, key=key) for number, key in enumerate(["before", name, "behind"])]
    async with opened(rabbit.url, target="{documentKey._id}", rabbitmq={"declare": "classic"}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert numbers(rabbit, "before")[-1] == 0
    assert numbers(rabbit, "behind")[-1] == 2


async def test_an_event_that_no_queue_takes_is_refused_alone(rabbit: RabbitServer) -> None:
    rabbit.declare("target.0", "target.2")
    async with opened(rabbit.url, target="target.{fullDocument.n}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(3))
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert "NO_ROUTE" in str(caught.value.errors[1])
    assert numbers(rabbit, "target.0") == [0]
    assert numbers(rabbit, "target.2") == [2]


async def test_what_no_queue_takes_may_be_dropped(rabbit: RabbitServer) -> None:
    async with opened(rabbit.url, target="nowhere", rabbitmq={"mandatory": False}) as step:
        await step.process(make_events(3))


async def test_a_full_queue_holds_its_events_and_inverts_none(rabbit: RabbitServer) -> None:
    """It takes one while it refuses the next: so of a document there is never more than one on its way."""
    rabbit.declare("full", **{"x-max-length": 2, "x-overflow": "reject-publish"})
    events = [make_event(number, key="same") for number in range(5)]
    async with opened(rabbit.url, target="full") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
        assert all(isinstance(error, EndpointDown) for error in caught.value.errors.values())
        [failed] = caught.value.errors
        assert list(caught.value.untried) == events[failed + 1 :]
        assert len(numbers(rabbit, "full")) == failed


async def test_an_exchange_that_is_missing_holds_all_events(rabbit: RabbitServer) -> None:
    async with opened(rabbit.url, rabbitmq={"exchange": "none"}) as step:
        for work in (step.check, lambda: step.process(make_events(2))):
            with pytest.raises(EndpointDown, match=r"no exchange 'none'.*; create it"):
                await work()
        with rabbit.channel() as channel:
            channel.exchange_declare("none", "fanout")
            channel.queue_declare("of none")
            channel.queue_bind("of none", "none")
        await step.process(make_events(2))
    assert numbers(rabbit, "of none") == [0, 1]


async def test_an_event_of_fifteen_megabytes_arrives_whole(rabbit: RabbitServer) -> None:
    rabbit.declare("large")
    async with opened(rabbit.url, target="large") as step:
        await step.process([make_event(0, big="x" * 15_000_000)])
    [(_, body)] = rabbit.messages("large")
    assert len(body) > 15_000_000


async def test_a_message_beyond_the_servers_limit_is_refused_alone(rabbit: RabbitServer) -> None:
    rabbit.declare("limited")
    async with opened(rabbit.url, target="limited") as step:
        with pytest.raises(Refused, match="larger than"):
            await step.process([make_event(0, big="x" * 16_500_000)])
        await step.process(make_events(2, first=1))
    assert numbers(rabbit, "limited") == [1, 2]


async def test_headers_that_are_too_large_refuse_their_own_event_only(rabbit: RabbitServer) -> None:
    """All properties of a message are one frame, which RabbitMQ takes up to 128 KiB."""
    rabbit.declare("headers")
    async with opened(rabbit.url, target="headers", headers={"long": "{long}"}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process([make_event(n, long=long) for n, long in enumerate(["", "☃" * 45_000, "x" * 100_000])])
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert numbers(rabbit, "headers") == [0, 2]


async def test_a_routing_key_that_is_too_long_refuses_its_own_event_only(rabbit: RabbitServer) -> None:
    rabbit.declare("short")
    async with opened(rabbit.url, target="{to}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process([make_event(n, to=to) for n, to in enumerate(["short", "☃" * 100, "short"])])
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert numbers(rabbit, "short") == [0, 2]


async def test_a_server_that_is_away_is_down_and_found_again(rabbit: RabbitServer) -> None:
    rabbit.declare("kept")
    async with opened(rabbit.url, target="kept") as step:
        await step.process(make_events(1))
        rabbit.kill()
        for _ in range(2):
            with pytest.raises(EndpointDown, match=f"127.0.0.1:{rabbit.port}"):
                await step.process(make_events(1, first=1))
        await asyncio.to_thread(rabbit.start)
        await asyncio.to_thread(rabbit.declare, "kept")  # it listens before it has found its queues again
        await insisted(step, make_events(1, first=1))
    assert numbers(rabbit, "kept") == [0, 1]


async def _publish_until_blocked(step: Queue) -> None:
    for _ in range(50):  # the server may take a moment before it blocks anybody
        await step.process(make_events(1, first=1))
        await asyncio.sleep(0.1)


async def test_a_server_that_blocks_publishers_is_down_until_it_does_not(rabbit: RabbitServer) -> None:
    rabbit.declare("blocked")
    async with opened(rabbit.url, target="blocked", timeout="1s") as step:
        await step.process(make_events(1))
        rabbit.control("set_vm_memory_high_watermark", "0.0000001")
        try:
            with pytest.raises(EndpointDown, match="within 1 s"):
                await _publish_until_blocked(step)
            with pytest.raises(EndpointDown, match="low on memory"):
                await step.process(make_events(1, first=1))
        finally:
            rabbit.control("set_vm_memory_high_watermark", "0.4")

        await insisted(step, make_events(1, first=2))
    assert {0, 1, 2} <= set(numbers(rabbit, "blocked"))


async def test_a_delivery_that_is_broken_off_harms_no_other(rabbit: RabbitServer) -> None:
    rabbit.declare("broken")
    async with opened(rabbit.url, target="broken") as step:
        for start in range(0, 200, 10):
            task = asyncio.create_task(step.process(make_events(10, first=start)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await step.process(make_events(5, first=1000))
    assert numbers(rabbit, "broken")[-5:] == list(range(1000, 1005))


@pytest.mark.parametrize("user", ["guest:wrong@", "nobody:secret@"])
async def test_a_wrong_password_is_told_with_the_mend_and_not_shown(rabbit: RabbitServer, user: str) -> None:
    async with opened(rabbit.url.replace("//", f"//{user}")) as step:
        with pytest.raises(EndpointDown, match="does not accept the user or password; check the url") as caught:
            await step.check()
    assert "wrong" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_virtual_host_that_is_missing_is_told_with_the_remedy(rabbit: RabbitServer) -> None:
    async with opened(f"{rabbit.url}/none") as step:
        with pytest.raises(EndpointDown, match="check the virtual host"):
            await step.check()


async def test_several_hosts_are_tried_in_turn(rabbit: RabbitServer) -> None:
    rabbit.declare("several")
    async with opened(f"amqp://127.0.0.1:1,127.0.0.1:{rabbit.port}/", target="several") as step:
        await step.process(make_events(1))
    assert numbers(rabbit, "several") == [0]


async def test_a_check_says_what_it_found(rabbit: RabbitServer) -> None:
    rabbit.declare("checked")
    async with opened(rabbit.url, target="checked") as step:
        assert await step.check() == f"rabbitmq at 127.0.0.1:{rabbit.port} answers"
    async with opened(rabbit.url, target="unchecked") as step:
        with pytest.raises(EndpointDown, match=r"no queue 'unchecked'.*see `declare`"):
            await step.check()


async def test_tls_with_a_client_certificate(rabbit: RabbitServer, certificates: Certificates) -> None:
    rabbit.declare("secure")
    async with opened(rabbit.tls_url, target="secure", **certificates.options) as step:
        await step.process(make_events(2))
    await trust_is_needed(rabbit.tls_url, certificates, target="secure")
    assert numbers(rabbit, "secure") == [0, 1]
