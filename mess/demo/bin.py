"""A request bin: a web server that accepts any webhook and remembers it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

_MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A received webhook: `id` is its `webhook-id`, `time` is in seconds since the epoch, `again` is whether this id
    was received before."""

    id: str
    time: float
    body: dict[str, Any]
    again: bool

    @property
    def key(self) -> tuple[str, Any]:
        """The collection and the `_id` of the changed document; the `_id` is None if there is none."""
        return self.body.get("ns", {}).get("coll", ""), (self.body.get("documentKey") or {}).get("_id")

    @property
    def exists(self) -> bool:
        """Whether this is no change, but a document that exists."""
        return self.body.get("operationType") == "read"


class RequestBin:
    """Listens on a free port of 127.0.0.1 while it is open, answers 200, and calls `on_event` for each webhook.

    `received` counts the different changes by collection and `_id`, `existing` the different existing documents, and
    `again` the repeated deliveries of both.
    """

    def __init__(self, on_event: Callable[[Received], None] = lambda event: None) -> None:
        self._on_event = on_event
        self._ids: set[str] = set()
        self._arrival = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.received: Counter[tuple[str, Any]] = Counter()
        self.existing: Counter[tuple[str, Any]] = Counter()
        self.again = 0

    @property
    def url(self) -> str:
        """Where to send webhooks. Raises RuntimeError while it is closed."""
        if self._runner is None:
            raise RuntimeError("the request bin is not open")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/webhook"

    async def next(self) -> None:
        """Return when another webhook has arrived."""
        await self._arrival.wait()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        now = time.time()
        identity = request.headers.get("webhook-id", "")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            body = None
        if not identity or not isinstance(body, dict):
            return web.Response(status=400, text="a webhook has the header webhook-id and a JSON object as its body")
        event = Received(id=identity, time=now, body=body, again=identity in self._ids)
        if event.again:
            self.again += 1
        else:
            self._ids.add(identity)
            (self.existing if event.exists else self.received)[event.key] += 1
        self._on_event(event)
        self._arrival.set()
        self._arrival = asyncio.Event()
        return web.Response()
