"""The http step with an endpoint for each collection, document or value, against a real HTTP server."""

from __future__ import annotations

import pytest

from mess.errors import BatchError, EndpointDown, Refused
from mess.event import Namespace
from mess.steps.http.step import HttpConfig
from tests.integration.steps.http.test_http import opened
from tests.receiver import Answer, Receiver, Request
from tests.unit.fakes import make_event

LINES = Namespace("shop", "lines")


def down(*paths: str) -> Receiver:
    def respond(request: Request) -> Answer:
        return Answer(503 if request.path in paths else 200)

    return Receiver(respond=respond)


def paths(receiver: Receiver) -> list[tuple[str, list[str]]]:
    return [(request.path, [event.id for event in request.events]) for request in receiver.requests]


async def test_each_collection_has_its_url() -> None:
    async with Receiver() as receiver, opened(f"{receiver.url}/{{db}}/{{collection}}?op={{operation}}") as step:
        for event in (make_event(1), make_event(2, namespace=LINES)):
            await step.process([event])
    assert [path for path, _ in paths(receiver)] == ["/hook/shop/orders?op=insert", "/hook/shop/lines?op=insert"]


async def test_hostile_values_reach_the_receiver_as_they_were_escaped() -> None:
    """The client in between must not resolve or unescape them."""
    values = ["..", ".", "a/../b", "%2e%2e", "x?y#z", "\0\r\nHost: evil", "é"]
    async with Receiver() as receiver, opened(f"{receiver.url}/{{v}}/end?q={{v}}") as step:
        for value in values:
            await step.process([make_event(1, v=value)])
    escaped = ["%2E%2E", "%2E", "a%2F..%2Fb", "%252e%252e", "x%3Fy%23z", "%00%0D%0AHost%3A%20evil", "%C3%A9"]
    queries = ["..", ".", *escaped[2:]]
    assert [path for path, _ in paths(receiver)] == [
        f"/hook/{segment}/end?q={query}" for segment, query in zip(escaped, queries, strict=True)
    ]


async def test_a_batch_holds_the_events_of_one_endpoint() -> None:
    """Each endpoint gets its events in as few requests as possible, in their order."""
    events = [make_event(number, namespace=LINES if number % 2 else Namespace("shop", "orders")) for number in range(6)]
    async with Receiver() as receiver, opened(f"{receiver.url}/{{collection}}", batch={}) as step:
        await step.process(events)
    assert paths(receiver) == [
        ("/hook/orders", [event.id for event in events[::2]]),
        ("/hook/lines", [event.id for event in events[1::2]]),
    ]


async def test_one_documents_events_keep_their_order_across_endpoints() -> None:
    """An update that goes to another endpoint than its insert is sent after it, and before a later insert."""
    kinds = ["insert", "update", "insert"]
    events = [make_event(number, key=1, operation=kind) for number, kind in enumerate(kinds)]
    async with Receiver() as receiver, opened(f"{receiver.url}/{{operation}}", batch={}) as step:
        await step.process(events)
    assert paths(receiver) == [(f"/hook/{kind}", [event.id]) for kind, event in zip(kinds, events, strict=True)]


async def test_an_endpoint_that_is_down_does_not_stop_the_others_of_a_batch() -> None:
    """Except for events of the same document: those keep their order."""
    kinds = ["insert", "update", "insert", "update", "update"]
    events = [
        make_event(n, key=key, operation=kind) for n, (key, kind) in enumerate(zip([1, 1, 2, 3, 2], kinds, strict=True))
    ]
    async with down("/hook/insert") as receiver, opened(f"{receiver.url}/{{operation}}", batch={}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    errors = caught.value.errors
    assert {index: type(error) for index, error in errors.items()} == {0: EndpointDown, 2: EndpointDown}
    assert errors[0] is errors[2]
    assert [event.id for event in receiver.accepted] == [events[3].id]
    assert list(caught.value.untried) == [events[1], events[4]]


async def test_events_of_other_documents_reach_an_endpoint_that_is_up() -> None:
    events = [make_event(0), make_event(1, namespace=LINES), make_event(2), make_event(3, namespace=LINES)]
    async with down("/hook/orders") as receiver, opened(f"{receiver.url}/{{collection}}", batch={}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert set(caught.value.errors) == {0, 2}
    assert [event.id for event in receiver.accepted] == [events[1].id, events[3].id]


async def test_an_event_without_the_value_is_refused_and_the_others_are_sent() -> None:
    events = [make_event(1, region="eu"), make_event(2), make_event(3, region="us")]
    async with Receiver() as receiver, opened(f"{receiver.url}/{{region}}", batch={}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
        with pytest.raises(Refused, match="region is missing in this event"):
            await step.process([events[1]])
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert [path for path, _ in paths(receiver)] == ["/hook/eu", "/hook/us"]


async def test_an_event_whose_url_is_too_long_is_refused_and_the_others_are_sent() -> None:
    events = [make_event(1, region="eu"), make_event(2, region="x" * 10_000), make_event(3, region="us")]
    async with Receiver() as receiver, opened(f"{receiver.url}/{{region}}", batch={}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert [path for path, _ in paths(receiver)] == ["/hook/eu", "/hook/us"]


async def test_check_tries_the_constant_origin() -> None:
    async with Receiver() as receiver, opened(f"{receiver.url}/{{fullDocument.n}}") as step:
        assert await step.check() == f"http://127.0.0.1:{receiver.port} accepts connections"
    assert receiver.requests == []


async def test_the_destination_is_the_url() -> None:
    """Breakers are kept for each; a value that is missing gives none, and never raises."""
    async with opened("http://u:p@h/{collection}/{region}") as step:
        assert step.destination is not None
        assert step.destination(make_event(region="eu")) == "http://h/orders/eu"
        assert step.destination(make_event()) == ""
    async with opened("http://h/hook") as step:
        assert step.destination is None


def test_the_description_shows_neither_path_nor_placeholders() -> None:
    describe = HttpConfig(endpoint="https://u:p@h:1/secret/{db}").describe()
    assert describe == "http https://h:1/…"
