"""An HTTP server that answers as a test tells it to, and remembers every request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import trustme

from tests.waiting import until


@dataclass(frozen=True)
class Answer:
    """What a request gets.

    It waits `delay` seconds first; `hang` never answers. `close` ends the connection: `before` the body is read (the
    request is then not recorded), `instead` of an answer, or `after` it, without having said so.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    hang: bool = False
    close: Literal["before", "instead", "after"] | None = None


class Delivered(NamedTuple):
    """One event of a request: `time` is when its request was read, seconds since the epoch."""

    id: str
    body: Any
    time: float
    status: int


@dataclass(frozen=True)
class Request:
    """A request that was read whole; names of `headers` are in lower case. `answer` is what it got.

    `began` is when its first byte was read, and `time` when its last one was, in seconds since the epoch.
    """

    time: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer: Answer
    began: float = 0.0

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Delivered]:
        """The events it carries: those of a batch, or its only one."""
        body, status = self.json, self.answer.status
        if isinstance(body, dict) and set(body) == {"id", "events"}:
            return [Delivered(event["id"], event["body"], self.time, status) for event in body["events"]]
        return [Delivered(self.headers.get("webhook-id", ""), body, self.time, status)]


Respond = Callable[["Request"], Answer]


class Receiver:
    """Listens on a port of `host` while it is open.

    A request gets the next of `script`; when that is empty what `respond` says, if set; else `answer`. All three may
    be changed at any time. `stop` and `start` close and open the same port.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        respond: Respond | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.answer = answer or Answer()
        self.respond = respond
        self.script: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._host = host
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    @property
    def url(self) -> str:
        """Where to send webhooks; the port stays the same after the first `start`."""
        return f"http{'s' if self._tls else ''}://{self._host}:{self.port}/hook"

    @property
    def listening(self) -> bool:
        """Whether it is started."""
        return self._server is not None

    @property
    def accepted(self) -> list[Delivered]:
        """The events of every request that was answered with 2xx, in the order of arrival, duplicates included."""
        return [event for event in self.received if 200 <= event.status < 300]

    @property
    def received(self) -> list[Delivered]:
        """The events of every request, however it was answered."""
        return [event for request in self.requests for event in request.events]

    def play(self, answers: Iterable[Answer]) -> None:
        """Give these answers to the next requests."""
        self.script.extend(answers)

    async def wait_for(self, count: int, timeout: float = 10.0) -> list[Request]:
        """All requests, as soon as there are `count`. Raises AssertionError when there are not in time."""
        await until(
            lambda: len(self.requests) >= count,
            lambda: f"only {len(self.requests)} of {count} requests",
            timeout,
            wake=self._arrived,
        )
        return self.requests

    async def wait_for_events(self, count: int, timeout: float = 10.0) -> list[Delivered]:
        """All accepted events, as soon as there are `count` different ones. Raises AssertionError."""

        def different() -> int:
            return len({event.id for event in self.accepted})

        await until(
            lambda: different() >= count,
            lambda: f"only {different()} of {count} events",
            timeout,
            wake=self._arrived,
        )
        return self.accepted

    async def start(self) -> None:
        """Listen (again)."""
        self._server = await asyncio.start_server(self._connected, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no longer, and break every connection."""
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            # A cancelled handler would be reported by asyncio as an error of its own.
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request; whether the connection goes on."""
        first = await reader.readexactly(1)
        began = time.time()
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        respond, answer = (None, self.script.popleft()) if self.script else (self.respond, self.answer)
        if respond is None and answer.close == "before":
            return False
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(time.time(), method, path, headers, body, answer, began)
        if respond is not None:
            answer = respond(request)
            request = replace(request, answer=answer)
        self.requests.append(request)
        self._arrived.set()
        if answer.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(answer.delay)
        if answer.close == "instead":
            return False
        sent = {"Content-Length": str(len(answer.body)), **answer.headers}
        head = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(head).encode("latin-1") + answer.body)
        await writer.drain()
        if answer.close == "after":
            writer.close()  # in order, so that the answer is read before the end is seen
            await writer.wait_closed()
        return answer.close is None


def server_tls(certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's TLS with this certificate; it asks for a client certificate where `clients` says whose."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    if clients is not None:
        clients.configure_trust(made)
        made.verify_mode = ssl.CERT_REQUIRED
    return made
