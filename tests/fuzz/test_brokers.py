"""Whatever an event holds, a broker gets it whole, or it alone is refused, and what comes behind it goes through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mess.errors import BatchError, Refused
from mess.event import Event
from mess.relay.dispatch import ordering_key
from mess.steps.queue.step import Queue, QueueConfig
from tests.fuzz.profiles import examples
from tests.fuzz.strategies import changes, decoded
from tests.integration.steps.queue.step import opened
from tests.servers.kafka import KafkaServer
from tests.servers.mosquitto import MosquittoServer, Subscriber
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.unit.fakes import make_event
from tests.waiting import until

KNOWN = "all.known"
BROKERS: dict[str, dict[str, Any]] = {
    "redis_server": {},
    "kafka_server": {},
    "rabbitmq_server": {"rabbitmq": {"declare": "classic"}},
    "nats_server": {"nats": {"stream": {"name": "all", "subjects": ["all.>"]}}},
    "mosquitto_server": {},
}
"""By their fixtures: what a config needs besides the url."""
Read = Callable[[bytes], Sequence[bytes]]
"""Gives all bodies that have come to KNOWN, up to a last one."""
templates = st.sampled_from(["{documentKey._id}", "{fullDocument.a}", "{fullDocument}", "{db}", "x"])
targets = st.sampled_from([KNOWN, KNOWN, "all.{documentKey._id}", "all.{collection}"])


@contextmanager
def reading(server: Any) -> Iterator[Read]:
    match server:
        case RedisServer():
            client: Any = server.client()
            yield lambda last: [fields[b"body"] for _, fields in client.xrange(KNOWN)]
        case KafkaServer():
            server.create(KNOWN)
            yield lambda last: [record.value() for record in server.records(KNOWN)]
        case RabbitServer():
            so_far: list[bytes] = []
            yield lambda last: taken_from(server, so_far)
        case NatsServer():
            yield lambda last: [message.data for message in server.messages("all") if message.subject == KNOWN]
        case MosquittoServer():
            with Subscriber(server.port, KNOWN) as subscriber:
                yield lambda last: asyncio.run(until(lambda: up_to(last, subscriber), "the last message"))


def taken_from(server: RabbitServer, so_far: list[bytes]) -> Sequence[bytes]:
    # What is read and put back is not there again at once.
    with server.channel() as channel:
        while (found := channel.basic_get(KNOWN, auto_ack=True))[0] is not None:
            so_far.append(found[2])
    return so_far


def up_to(last: bytes, subscriber: Subscriber) -> Sequence[bytes]:
    bodies = [bytes(message.payload) for message in subscriber.messages]
    return bodies if last in bodies else []


def numbered(change: dict[str, Any], number: int) -> Event:
    """The event of a change, with an id that no other has: brokers drop what has one that they know."""
    event = decoded({**change, "_id": {"_data": f"{number:08X}"}})
    event.ordering_key = ordering_key(event, "document")
    return event


async def taken(url: str, options: dict[str, Any], events: Sequence[Event], behind: Event) -> list[Event]:
    """Those of `events` that the broker takes; the others are refused, and cost no connection. In KNOWN, `behind` comes
    behind them."""
    async with opened(url, **options) as step:
        refused = await refusals(step, events)
        await refusals(step, [make_event()])
    async with opened(url, **{**options, "target": KNOWN, "headers": {}}) as step:
        await step.process([behind])
    return [event for index, event in enumerate(events) if index not in refused]


async def refusals(step: Queue, events: Sequence[Event]) -> set[int]:
    """Which of the events are refused. Raises what is more than the events' own trouble."""
    try:
        await step.process(events)
    except Refused:
        return set(range(len(events)))
    except BatchError as error:
        others = [cause for cause in error.errors.values() if not isinstance(cause, Refused)]
        if others or error.untried:
            raise
        return set(error.errors)
    return set()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize(
    "fixture", [pytest.param(each, marks=[pytest.mark.long] * (each == "kafka_server")) for each in BROKERS]
)
def test_a_broker_gets_it_whole_or_it_alone_is_refused(fixture: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(fixture)
    numbers = count()

    @examples(20)
    @given(st.lists(changes(), min_size=1, max_size=4), templates, templates, targets)
    def send(given: list[dict[str, Any]], key: str, header: str, target: str) -> None:
        options = {"key": key, "headers": {"x": header}, "target": target, **BROKERS[fixture]}
        behind = make_event(next(numbers))
        events = [numbered(change, next(numbers)) for change in given]
        passed = asyncio.run(taken(server.url, options, events, behind))
        encode = QueueConfig.model_validate({"url": server.url, **options}).envelope("mess").encode
        bodies = read(behind.encode(encode))
        assert behind.encode(encode) in bodies
        if target == KNOWN:
            assert {event.encode(encode) for event in passed} <= set(bodies)

    with reading(server) as read:
        send()
