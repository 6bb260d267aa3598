"""The scripted receiver does to a client what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.receiver import Answer, Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_records_what_it_was_sent(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    """A request is there with its method, path, headers and body, and its events."""
    async with client.put(receiver.url, data=b'{"a": 1}', headers={"Webhook-Id": "msg_1"}) as response:
        assert response.status == 200
    batch = b'{"id": "msg_b", "events": [{"id": "msg_2", "body": 2}, {"id": "msg_3", "body": 3}]}'
    await (await client.post(receiver.url, data=batch)).read()
    [request, _] = await receiver.wait_for(2)
    assert (request.method, request.path, request.headers["webhook-id"], request.json) == (
        "PUT",
        "/hook",
        "msg_1",
        {"a": 1},
    )
    assert [(event.id, event.body) for event in receiver.accepted] == [("msg_1", {"a": 1}), ("msg_2", 2), ("msg_3", 3)]
    assert receiver.connections == 1


async def test_answers_by_script_then_by_function_then_by_default(
    receiver: Receiver, client: aiohttp.ClientSession
) -> None:
    """The script goes first, what it does not cover the function or the default answers."""
    receiver.play([Answer(503, {"Retry-After": "7"}, b"busy"), Answer(400)])
    receiver.answer = Answer(204)
    statuses = []
    for respond in (None, None, None, lambda request: Answer(int(request.body))):
        receiver.respond = respond
        async with client.post(receiver.url, data=b"418") as response:
            statuses.append((response.status, response.headers.get("Retry-After"), await response.read()))
    assert statuses == [(503, "7", b"busy"), (400, None, b""), (204, None, b""), (418, None, b"")]
    with pytest.raises(AssertionError, match="4 of 5 requests"):
        await receiver.wait_for(5, timeout=0.01)


@pytest.mark.parametrize(("close", "recorded"), [("before", 0), ("instead", 1)])
async def test_breaks_connections(receiver: Receiver, client: aiohttp.ClientSession, close: str, recorded: int) -> None:
    """A client is left without an answer."""
    receiver.answer = Answer(close=close)  # type: ignore[arg-type]
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(receiver.url, data=b"{}")
    assert len(receiver.requests) == recorded


async def test_closes_after_the_answer(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    """The answer arrives whole, and the next request needs a new connection."""
    receiver.answer = Answer(body=b"x" * 1_000_000, close="after")
    for _ in range(2):
        async with client.post(receiver.url) as response:
            assert len(await response.read()) == 1_000_000
        await asyncio.sleep(0.02)
    assert receiver.connections == 2


async def test_hangs_and_delays(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    """Requests that are never answered end with the client's patience, delayed ones do not."""
    receiver.play([Answer(hang=True), Answer(delay=0.05)])
    with pytest.raises(TimeoutError):
        await client.post(receiver.url, timeout=aiohttp.ClientTimeout(total=0.1))
    async with client.post(receiver.url) as response:
        assert response.status == 200


async def test_stops_and_listens_again_on_the_same_port(receiver: Receiver, client: aiohttp.ClientSession) -> None:
    """While it is stopped connections are refused, those it had are broken."""
    receiver.answer = Answer(hang=True)
    waiting = asyncio.create_task(_post(client, receiver.url))
    await receiver.wait_for(1)
    await receiver.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting
    with pytest.raises(aiohttp.ClientConnectionError):
        await _post(client, receiver.url)
    receiver.answer = Answer()
    await receiver.start()
    assert await _post(client, receiver.url) == 200


async def _post(client: aiohttp.ClientSession, url: str) -> int:
    async with client.post(url, data=b"{}") as response:
        return response.status
