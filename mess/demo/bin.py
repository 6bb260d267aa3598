"""A request bin: a web server that receives webhooks, verifies and answers them, and shows the last ones on a page."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
from aiohttp import web

from mess.admin.hosts import Hosts
from mess.demo.history import BODY_BYTES, Answered, History, shown_headers
from mess.demo.pages import add_pages, guard
from mess.demo.signature import check, new_secret

_PATH = "/webhook"
_MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A received webhook: `id` is its `webhook-id`, `time` is when it was answered, in seconds since the epoch, `again`
    is whether this id was accepted before, `replayed` whether it was a dead letter."""

    id: str
    time: float
    body: dict[str, Any]
    again: bool
    replayed: bool = False

    @property
    def operation(self) -> str:
        """What happened to the document; `read` if this is no change, but a document that exists."""
        return _text(self.body.get("operationType"))

    @property
    def key(self) -> tuple[str, Any]:
        """The collection and the `_id` of the changed document; the `_id` is None if there is none."""
        return _text(_part(self.body, "ns").get("coll")), _part(self.body, "documentKey").get("_id")

    @property
    def namespace(self) -> str:
        """Database and collection."""
        return ".".join(filter(None, (_text(_part(self.body, "ns").get("db")), self.key[0])))

    @property
    def goods(self) -> set[str]:
        """What is ordered, if this is an order of the shop's."""
        items = _part(self.body, "fullDocument").get("items")
        return (
            {_text(item.get("sku")) for item in items if isinstance(item, dict)} if isinstance(items, list) else set()
        )

    @property
    def exists(self) -> bool:
        """Whether this is no change, but a document that exists."""
        return self.operation == "read"


class Answer(NamedTuple):
    """A status, and a text for whoever reads it in a log or a dead letter."""

    status: int = 200
    text: str = ""


async def accept(event: Received) -> Answer:
    """Answer as a healthy receiver does."""
    return Answer()


class RequestBin:
    """Listens on a free port of 127.0.0.1 while it is open, or on `port`, and calls `on_event` for each webhook that it
    has accepted.

    It answers 401 to requests that were not signed with its `secret`, 400 to those that are no webhooks, and to others
    what `answer` says, which may be replaced at any time. `history` has the last requests, and the page at `page` shows
    them; it links to `console`.

    `received` counts the different changes by collection and `_id`, `existing` the different existing documents,
    `again` the repeated deliveries of both, and `replayed` those that were dead letters.
    """

    def __init__(
        self, on_event: Callable[[Received], None] = lambda event: None, *, port: int = 0, console: str = ""
    ) -> None:
        self._on_event = on_event
        self._port = port
        self._console = console
        self._ids: set[str] = set()
        self._arrival = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.secret = new_secret()
        self.answer: Callable[[Received], Awaitable[Answer]] = accept
        self.history = History()
        self.received: Counter[tuple[str, Any]] = Counter()
        self.existing: Counter[tuple[str, Any]] = Counter()
        self.again = 0
        self.replayed = 0

    @property
    def url(self) -> str:
        """Where to send webhooks. Raises RuntimeError while it is closed."""
        return self._origin + _PATH

    @property
    def page(self) -> str:
        """Where a browser shows them. Raises RuntimeError while it is closed."""
        return f"{self._origin}/bin"

    @property
    def _origin(self) -> str:
        if self._runner is None:
            raise RuntimeError("the request bin is not open")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def next(self) -> None:
        """Return when another webhook has arrived."""
        await self._arrival.wait()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[guard(Hosts([]))])
        add_pages(app, self.history, self._console)
        app.router.add_route("*", _PATH, self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.history.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        now = time.time()
        body = await request.read()
        signature = check(self.secret, request.headers, body, now=now)
        event = self._event(request, body, now)
        if event is None:
            answer = Answer(400, "a webhook has the header webhook-id and a JSON object as its body")
        elif signature.result != "valid":
            answer = Answer(401, f"this receiver accepts signed webhooks only: {signature.why}")
        else:
            answer = await self.answer(event)
            if answer.status == 200:
                event = self._counted(event)
        self.history.add(
            Answered(
                time=now,
                took=time.time() - now,
                method=request.method,
                path=request.path_qs,
                status=answer.status,
                headers=shown_headers(request.raw_headers),
                body=body[:BODY_BYTES],
                size=len(body),
                signature=signature,
                **({} if event is None else _about(event)),
            )
        )
        return web.Response(status=answer.status, text=answer.text)

    def _event(self, request: web.Request, body: bytes, now: float) -> Received | None:
        identity = request.headers.get("webhook-id", "")
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if not identity or not isinstance(content, dict):
            return None
        replayed = "mess-replay" in request.headers
        return Received(id=identity, time=now, body=content, again=False, replayed=replayed)

    def _counted(self, event: Received) -> Received:
        event = replace(event, time=time.time(), again=event.id in self._ids)
        self.again += event.again
        self.replayed += event.replayed
        if not event.again:
            self._ids.add(event.id)
            (self.existing if event.exists else self.received)[event.key] += 1
        self._on_event(event)
        self._arrival.set()
        self._arrival = asyncio.Event()
        return event


def _about(event: Received) -> dict[str, Any]:
    marks = {"existing": event.exists, "replayed": event.replayed, "again": event.again}
    key = event.key[1]
    return {
        "operation": event.operation,
        "namespace": event.namespace,
        "key": "" if key is None else key if isinstance(key, str) else orjson.dumps(key).decode(),
        "marks": [mark for mark, applies in marks.items() if applies],
    }


def _part(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
