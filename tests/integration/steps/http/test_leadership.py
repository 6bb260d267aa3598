"""What the http step sends of a process that may no longer deliver, against a real HTTP server, and the epoch that it
sends along."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.connector import Connection
from pydantic import ValidationError

from mess.errors import BatchError, EndpointDown
from mess.leadership import Leadership, now
from mess.steps.http.aiohttp_client import GuardedRequest
from mess.steps.http.step import HttpConfig
from tests.integration.steps.http.test_http import SECRET, opened
from tests.integration.steps.http.test_oauth2 import SECRET as SHARED
from tests.integration.steps.http.test_oauth2 import TokenEndpoint
from tests.receiver import Answer, Receiver, Request
from tests.unit.fakes import make_event, make_events


def lapse(leadership: Leadership) -> None:
    leadership.extend(-math.inf)


@pytest.mark.parametrize("options", [{}, {"batch": {}}, {"format": "cloudevents"}, {"method": "PUT"}])
async def test_every_request_carries_the_epoch(options: dict[str, object]) -> None:
    async with Receiver() as receiver, opened(receiver.url, leadership=Leadership(42), **options) as step:
        await step.process(make_events(2))
    assert {request.headers["mess-epoch"] for request in receiver.requests} == {"42"}


async def test_an_unknown_epoch_is_no_header() -> None:
    async with Receiver() as receiver, opened(receiver.url, sign={"secret": SECRET}) as step:
        await step.process([make_event(1)])
    assert "mess-epoch" not in receiver.requests[0].headers


@pytest.mark.parametrize("name", ["mess-epoch", "Mess-Epoch"])
def test_nobody_else_sets_the_epoch(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be set"):
        HttpConfig.model_validate({"endpoint": "http://h", "headers": {name: "1"}})


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_request_on_a_dropped_connection_is_not_repeated_after_the_lapse(method: str) -> None:
    """aiohttp itself repeats a PUT, the step a POST."""
    leadership = Leadership(1, now() + 60)

    def respond(request: Request) -> Answer:
        if len(receiver.requests) == 1:
            lapse(leadership)
            return Answer(close="instead")
        return Answer()

    async with Receiver() as receiver, opened(receiver.url, leadership=leadership, method=method) as step:
        receiver.play([Answer()])
        await step.process([make_event(0)])  # now there is a connection to be reused
        receiver.respond = respond
        with pytest.raises(EndpointDown, match="lease"):
            await step.process([make_event(1)])
        assert len(receiver.requests) == 2
        leadership.extend(now() + 60)
        await step.process([make_event(1)])
    assert len(receiver.requests) == 3


async def test_nothing_is_sent_with_a_token_that_came_too_late() -> None:
    leadership, tokens = Leadership(1, now() + 60), TokenEndpoint()
    await tokens.start()
    tokens.gate.clear()
    auth = {"oauth2": {"token_url": tokens.url, "client_id": "relay", "client_secret": SHARED}}
    async with Receiver() as receiver, opened(receiver.url, leadership=leadership, auth=auth) as step:
        delivery = asyncio.ensure_future(step.process([make_event(1)]))
        await tokens.waiting.wait()
        lapse(leadership)
        tokens.gate.set()
        with pytest.raises(EndpointDown, match="lease"):
            await delivery
        assert receiver.requests == []
    await tokens.stop()


async def test_nothing_is_sent_on_a_connection_that_came_too_late() -> None:
    """The connection is made, but nothing is written to it."""
    leadership = Leadership(1, now() + 60)
    read: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, opened(url, leadership=leadership) as step:
        delivery = asyncio.ensure_future(step.process([make_event(1)]))
        await asyncio.sleep(0)  # it begins to connect
        lapse(leadership)
        with pytest.raises(EndpointDown, match="lease"):
            await delivery
        assert await read == b""


async def test_the_requests_of_one_call_that_are_left_are_not_sent() -> None:
    leadership = Leadership(1, now() + 60)

    def respond(request: Request) -> Answer:
        if len(receiver.requests) == 1:
            lapse(leadership)
        return Answer()

    events = make_events(4)
    async with Receiver() as receiver:
        receiver.respond = respond
        batch = {"max_events": 500, "max_bytes": 250}  # two events
        async with opened(receiver.url, leadership=leadership, batch=batch) as step:
            with pytest.raises(BatchError) as caught:
                await step.process(events)
    assert [event.id for event in receiver.accepted] == [event.id for event in events[:2]]
    failed = [events[index] for index in caught.value.errors]
    assert [*failed, *caught.value.untried] == events[2:]
    assert all(isinstance(error, EndpointDown) for error in caught.value.errors.values())


@pytest.mark.parametrize("options", [{}, {"batch": {}}, {"method": "PUT"}])
async def test_a_request_that_was_about_to_be_written_is_not_written_after_the_lapse(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp writes in a task that may begin later: a process may be frozen in between."""
    leadership = Leadership(1, now() + 60)
    send = GuardedRequest.send

    def and_lapse(request: GuardedRequest, conn: Connection) -> Coroutine[Any, Any, ClientResponse]:
        sending = send(request, conn)
        lapse(leadership)
        return sending

    async with Receiver() as receiver, opened(receiver.url, leadership=leadership, **options) as step:
        await step.process([make_event(0)])
        monkeypatch.setattr(GuardedRequest, "send", and_lapse)
        with pytest.raises((EndpointDown, BatchError)):
            await step.process([make_event(1)])
        monkeypatch.undo()
        leadership.extend(now() + 60)
        await step.process([make_event(1)])
    assert len(receiver.requests) == 2
