"""Watching what becomes of events, and finding one of them, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from mess.admin.api import events
from mess.ids import hashed_id
from tests.integration.admin.conftest import Api
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.waiting import PATIENCE, until


class Messages:
    """The messages of a live tail, as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, kind: str = "change") -> dict[str, Any]:
        """The next message of a kind."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = (await self._response.content.readuntil(b"\n\n")).decode()
                if message.startswith(f"event: {kind}\n"):
                    return json.loads(message.partition("\ndata: ")[2])

    async def end(self) -> float:
        """Wait until the server ends it; returns how many seconds that took."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            await self._response.content.read()
        return time.monotonic() - began


@asynccontextmanager
async def tail(api: Api, **query: Any) -> AsyncIterator[Messages]:
    """A live tail."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{api.url}/events", params=query) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Messages(response)


async def test_what_becomes_of_events(lab: Lab, running: Callable[..., Any]) -> None:
    """Each step with the body after it, and how it ended: delivered, or dropped by a filter."""
    pipeline = [
        {"name": "filter", "config": {"when": "event.fullDocument.vip"}},
        {"name": "field-map", "config": {"fields": {"order": "documentKey._id"}}},
        lab.http,
    ]
    async with running(pipeline=pipeline) as (_, api), tail(api, bodies="true") as messages:
        lab.db.orders.insert_one({"_id": 1, "vip": True})
        found = await messages.next()
        assert found["outcome"] == "delivered"
        assert [(step["step"], step["result"]) for step in found["steps"]] == [
            ("filter", "passed"),
            ("field-map", "passed"),
            ("http", "delivered"),
        ]
        assert found["steps"][1]["body"] == {"order": 1}
        assert found["change"]["fullDocument"] == {"_id": 1, "vip": True}
        assert lab.receiver.requests[0].headers["webhook-id"] == found["id"]
        lab.db.orders.insert_one({"_id": 2, "vip": False})
        found = await messages.next()
        assert (found["outcome"], found["ended_at"], found["key"]) == ("dropped", "filter", {"_id": 2})


async def test_filters(lab: Lab, running: Callable[..., Any]) -> None:
    """A tail shows what it was asked for, and ends when it has shown so many."""
    async with running() as (_, api):
        queries: list[dict[str, Any]] = [
            {"namespace": f"{lab.db.name}.cust*"},
            {"operation": "delete,drop"},
            {"outcome": "delivered", "namespace": f"{lab.db.name}.customers"},
        ]
        async with AsyncExitStack() as stack:
            tails = [await stack.enter_async_context(tail(api, limit=1, **query)) for query in queries]
            lab.db.orders.insert_one({"_id": 1})
            lab.db.customers.insert_one({"_id": 2})
            lab.db.orders.delete_one({"_id": 1})
            found = [await each.next() for each in tails]
            assert [each["namespace"].rpartition(".")[2] for each in found] == ["customers", "orders", "customers"]
            assert found[1]["operation"] == "delete"
            for each in tails:
                assert await each.end() < 2
        assert (await api.get("/events?outcome=gone"))[0] == 400
        assert (await api.get("/events?sample=2"))[0] == 400


async def test_a_client_that_does_not_read(lab: Lab, running: Callable[..., Any]) -> None:
    """Delivery goes on, and others are not affected; when it reads again, it learns how many it has missed."""
    async with running() as (relay, api):
        lazy = _lazy_client(api)
        try:
            await until(lambda: relay.tail.clients == 1, "the tail")
            total = 2500
            for first in range(0, total, 500):
                documents = [{"_id": number, "text": "x" * 2000} for number in range(first, first + 500)]
                await asyncio.to_thread(lab.db.orders.insert_many, documents)
            await until(lambda: relay.metrics.changed >= total, "all deliveries", 60)
            assert relay.tail.queued_bytes <= 4 * 1024**2
            async with tail(api, limit=1, namespace=f"{lab.db.name}.others") as other:
                await asyncio.to_thread(lab.db.others.insert_one, {"_id": "another"})
                assert (await other.next())["key"] == {"_id": "another"}
            read = await asyncio.to_thread(_everything, lazy)
        finally:
            lazy.close()
        shown = read.count(b"\nevent: change\n") + read.count(b"\r\nevent: change\n")
        lost = sum(json.loads(part.split(b"\n")[0])["count"] for part in read.split(b"event: lost\ndata: ")[1:])
        assert lost > 0
        assert shown + lost == total + 1


async def test_a_client_that_never_reads_is_dropped(
    lab: Lab, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, with all that waits for it."""
    monkeypatch.setattr(events, "_STALLED", 0.5)
    async with running() as (relay, api):
        lazy = _lazy_client(api)
        try:
            await until(lambda: relay.tail.clients == 1, "the tail")
            for first in range(0, 40_000, 200):
                documents = [{"_id": number, "text": "x" * 20_000} for number in range(first, first + 200)]
                await asyncio.to_thread(lab.db.orders.insert_many, documents)
                if relay.tail.clients == 0:
                    break
            await until(lambda: relay.tail.clients == 0, "the end of the tail")
            assert relay.tail.queued_bytes == 0
        finally:
            lazy.close()


def _lazy_client(api: Api) -> socket.socket:
    """A connection on which a live tail was asked for."""
    host, _, path = f"{api.url}/events?bodies=true".removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    found = socket.create_connection((name, int(port)))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    found.sendall(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return found


def _everything(connection: socket.socket) -> bytes:
    """What has been sent, up to a pause of some seconds."""
    connection.settimeout(4)
    read = b""
    with suppress(TimeoutError):
        while data := connection.recv(1 << 20):
            read += data
    # Chunked transfer encoding: drop the lines with the sizes.
    return b"".join(part for index, part in enumerate(read.split(b"\r\n")) if not _is_size(part))


def _is_size(part: bytes) -> bool:
    try:
        return len(part) <= 6 and int(part, 16) >= 0
    except ValueError:
        return False


async def test_the_tails_are_counted_apart(lab: Lab, running: Callable[..., Any]) -> None:
    """128 of them may be open, and everything else still answers; the next one is told so."""
    async with running() as (relay, api), AsyncExitStack() as stack:
        tails = [await stack.enter_async_context(tail(api)) for _ in range(128)]
        status, found = await api.get("/events")
        assert (status, "too many live tails" in found["error"]) == (503, True)
        assert (await api.get("/status"))[0] == 200
        lab.db.orders.insert_one({"_id": 1})
        assert {(await each.next())["id"] for each in tails} == {lab.receiver.requests[0].headers["webhook-id"]}
        await stack.aclose()
        await until(lambda: relay.tail.clients == 0, "the end of the tails")
        async with tail(api, limit=1) as again:
            lab.db.orders.insert_one({"_id": 2})
            assert (await again.next())["key"] == {"_id": 2}


async def test_a_stop_ends_the_tails(lab: Lab, running: Callable[..., Any]) -> None:
    """Promptly."""
    async with AsyncExitStack() as stack:
        async with running() as (_, api):
            tails = [await stack.enter_async_context(tail(api)) for _ in range(20)]
            began = time.monotonic()
        assert time.monotonic() - began < 5
        for each in tails:
            assert await each.end() < 1


async def test_a_reload_keeps_the_tails(lab: Lab, running: Callable[..., Any]) -> None:
    """They show the steps of the new pipeline, bypassed ones included."""
    async with running() as (_, api), tail(api, pipeline="top level") as messages:
        lab.db.orders.insert_one({"_id": 1})
        assert [step["step"] for step in (await messages.next())["steps"]] == ["http"]
        added = {"name": "field-map", "config": {"fields": {"order": "documentKey._id"}}}
        lab.write(json.dumps(lab.config(pipeline=[added, lab.http])), "config.json")
        assert (await api.ok("/reload", {}))["ok"]
        lab.db.orders.insert_one({"_id": 2})
        found = await messages.next()
        assert [(step["step"], step["result"]) for step in found["steps"]] == [
            ("field-map", "passed"),
            ("http", "delivered"),
        ]


async def test_hidden_documents(lab: Lab, running: Callable[..., Any]) -> None:
    """With `payloads: off`, a tail shows no document, whatever it is asked for."""
    async with running(admin={"port": 0, "payloads": "off"}) as (_, api), tail(api, bodies="true") as messages:
        lab.db.orders.insert_one({"_id": "a secret"})
        found = await messages.next()
        assert "a secret" not in json.dumps(found)
        assert found["outcome"] == "delivered"


async def test_only_for_those_who_may_see_documents(lab: Lab, running: Callable[..., Any]) -> None:
    """The tail and the place of an event need the token."""
    async with running(admin={"port": 0, "token": "a long token"}) as (_, api):
        assert (await api.get("/events"))[0] == 401
        assert (await api.get(f"/events/{hashed_id('x')}"))[0] == 401


@pytest.mark.parametrize("state", ["mongodb", "sqlite"])
async def test_where_an_event_is(lab: Lab, running: Callable[..., Any], state: str) -> None:
    """Delivered, dropped, waiting, retrying, a dead letter, skipped, or not seen; each in a sentence."""
    pipeline = [{"name": "filter", "config": {"when": "event.fullDocument._id != 2"}}, lab.http]
    options: dict[str, Any] = {"pipeline": pipeline, "concurrency": 1}
    if state == "sqlite":
        options["state"] = {"url": f"sqlite:///{lab.folder}/state.db"}
    async with running(**options) as (relay, api), tail(api) as messages:

        async def where(id_: str) -> tuple[str, str]:
            found = await api.ok(f"/events/{id_}")
            return found["state"], found["text"]

        lab.db.orders.insert_one({"_id": 1})
        delivered = (await messages.next())["id"]
        found, text = await where(delivered)
        assert (found, "by all steps of pipeline top level" in text) == ("delivered", True)

        lab.db.orders.insert_one({"_id": 2, "vip": False})
        dropped = (await messages.next())["id"]
        assert (await where(dropped))[0] == "dropped"

        lab.receiver.answer = Answer(422)
        lab.db.orders.insert_one({"_id": 3})
        letter = (await messages.next())["id"]
        found, text = await where(letter)
        assert (found, "422" in text, "mess dead-letters replay" in text) == ("dead_letter", True, True)

        lab.receiver.answer = Answer(503)
        lab.db.orders.insert_one({"_id": 4})
        await until(lambda: relay.status.sink_problems(), "the open breaker")
        waiting = relay.runners[0].window.oldest
        assert waiting is not None
        place = await api.ok(f"/events/{waiting.id}")
        assert place["state"] in ("waiting", "retrying")
        assert (place["pipeline"], place["step"]) == ("top level", "http")
        assert "503" in place["wait"]["text"]
        lab.receiver.answer = Answer(200)

        assert (await where(hashed_id("another")))[0] == "not_seen"
        assert (await api.get("/events/msg_1"))[0] == 400
