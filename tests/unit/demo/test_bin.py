"""The request bin counts what came, and what came again."""

from __future__ import annotations

import aiohttp

from mess.demo.bin import Received, RequestBin

_CHANGE = {"operationType": "insert", "ns": {"db": "d", "coll": "orders"}, "documentKey": {"_id": 7}}


async def test_counts_events_and_repetitions() -> None:
    """A second delivery of one id is told apart from a new event."""
    seen: list[Received] = []
    async with RequestBin(seen.append) as requests, aiohttp.ClientSession() as client:
        for identity in ("msg_1", "msg_1", "msg_2"):
            async with client.post(requests.url, json=_CHANGE, headers={"webhook-id": identity}) as response:
                assert response.status == 200
    assert requests.received == {("orders", 7): 2}
    assert requests.again == 1
    assert [(event.id, event.again) for event in seen] == [("msg_1", False), ("msg_1", True), ("msg_2", False)]


async def test_refuses_what_is_no_webhook() -> None:
    """A request without an id, or without a JSON object, is answered 400 and not counted."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        for body, headers in ((b"{}", {}), (b"[]", {"webhook-id": "msg_1"}), (b"{", {"webhook-id": "msg_1"})):
            async with client.post(requests.url, data=body, headers=headers) as response:
                assert response.status == 400
    assert not requests.received
