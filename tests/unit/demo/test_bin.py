"""The request bin counts what came, and what came again; it accepts signed webhooks only."""

from __future__ import annotations

import asyncio

import aiohttp

from mess.demo.bin import Answer, Received, RequestBin
from tests.unit.demo.webhooks import CHANGE, post, signed


async def test_counts_events_and_repetitions() -> None:
    """A second delivery of one id is told apart from a new event."""
    seen: list[Received] = []
    async with RequestBin(seen.append) as requests, aiohttp.ClientSession() as client:
        for identity in ("msg_1", "msg_1", "msg_2"):
            assert await post(client, requests, identity) == 200
    assert requests.received == {("orders", 7): 2}
    assert requests.again == 1
    assert [(event.id, event.again) for event in seen] == [("msg_1", False), ("msg_1", True), ("msg_2", False)]


async def test_two_deliveries_of_one_id_at_the_same_time_are_one_event() -> None:
    """As when the relay gives up waiting for a slow answer, and tries again."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:

        async def slowly(event: Received) -> Answer:
            await asyncio.sleep(0.05)
            return Answer()

        requests.answer = slowly
        assert await asyncio.gather(post(client, requests), post(client, requests)) == [200, 200]
    assert requests.received == {("orders", 7): 1}
    assert requests.again == 1


async def test_counts_existing_documents_and_replays_apart() -> None:
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        await post(client, requests, "msg_1", {**CHANGE, "operationType": "read"})
        await post(client, requests, "msg_2", headers={"mess-replay": "true"})
    assert requests.existing == {("orders", 7): 1}
    assert requests.received == {("orders", 7): 1}
    assert requests.replayed == 1


async def test_refuses_what_is_no_webhook() -> None:
    """A request without an id, or without a JSON object, is answered 400 and not counted."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        assert await post(client, requests, "") == 400
        assert await post(client, requests, body=b"[]") == 400
        assert await post(client, requests, body=b"{") == 400
    assert not requests.received
    assert [request.status for _, request in requests.history.after(0)] == [400, 400, 400]


async def test_refuses_what_is_not_signed_with_its_secret() -> None:
    """Whatever else runs on this machine cannot spoil the count."""
    async with RequestBin() as requests, RequestBin() as other, aiohttp.ClientSession() as client:
        headers = signed(other.secret, "msg_1", b"{}")
        assert await post(client, requests, body=b"{}", headers=headers) == 401
        async with client.post(requests.url, data=b"{}", headers={"webhook-id": "msg_1"}) as response:
            assert response.status == 401
            assert "webhook-signature" in await response.text()
    assert not requests.received
    assert [request.signature.result for _, request in requests.history.after(0)] == ["invalid", "unsigned"]


async def test_only_what_it_accepts_has_arrived() -> None:
    """What it answers otherwise is in the history, and not counted."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:

        async def refuse(event: Received) -> Answer:
            return Answer(422, "no")

        requests.answer = refuse
        assert await post(client, requests) == 422
    assert not requests.received
    assert [request.status for _, request in requests.history.after(0)] == [422]


async def test_any_object_is_a_webhook() -> None:
    """Whatever its members are."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        for number, body in enumerate([{}, {"ns": 1, "documentKey": []}, {"fullDocument": {"items": [1, {"sku": 2}]}}]):
            assert await post(client, requests, f"msg_{number}", body) == 200
