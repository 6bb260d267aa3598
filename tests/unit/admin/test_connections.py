"""What clients can make the admin server hold: few connections, for a short time, and nothing in the log."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from mess.admin import AdminServer, routes
from mess.admin import connections as module
from tests.unit.admin.test_server import FakeControls, FakeView

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Clients:
    """Raw connections to a server, closed in the end."""

    def __init__(self, server: AdminServer) -> None:
        self._host, self._port = "127.0.0.1", int(server.url.rpartition(":")[2])
        self._open: list[Client] = []

    async def connect(self, data: bytes = b"") -> Client:
        """A connection on which `data` has been sent."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._open.append((reader, writer))
        if data:
            writer.write(data)
        return reader, writer

    async def say(self, data: bytes) -> bytes:
        """All that is answered to `data`."""
        reader, _ = await self.connect(data)
        async with asyncio.timeout(5):
            return await reader.read()

    def close(self) -> None:
        for _, writer in self._open:
            writer.close()


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
async def server(view: FakeView, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdminServer]:
    monkeypatch.setattr(module, "MOST", 8)
    monkeypatch.setattr(module.Connections.__init__, "__defaults__", (0.5,))
    server = AdminServer("127.0.0.1", 0, view, FakeControls())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def clients(server: AdminServer) -> AsyncIterator[Clients]:
    clients = Clients(server)
    yield clients
    clients.close()


async def ended(client: Client, within: float) -> bool:
    """Whether the server closes a connection within so many seconds, saying nothing more."""
    try:
        async with asyncio.timeout(within):
            return await client[0].read() == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


async def answer(client: Client) -> bytes:
    """The answer to one request on a connection that stays open."""
    async with asyncio.timeout(5):
        head = await client[0].readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await client[0].readexactly(length)


async def test_the_oldest_idle_connection_makes_room_for_a_new_one(clients: Clients) -> None:
    """With all places taken by clients that say nothing, a new client is answered, and only the oldest is closed."""
    idle = [await clients.connect() for _ in range(8)]
    assert b"200 OK" in await answer(await clients.connect(REQUEST))
    assert await ended(idle[0], 0.2)
    assert not await ended(idle[1], 0.05)


async def test_a_client_that_asks_again_and_again_is_not_the_oldest(clients: Clients) -> None:
    """A scraper's connection, kept alive, outlives idle ones that are younger."""
    scraper = await clients.connect(REQUEST)
    await answer(scraper)
    idle = [await clients.connect() for _ in range(7)]
    scraper[1].write(REQUEST)
    assert b"200 OK" in await answer(scraper)
    await clients.connect()
    assert await ended(idle[0], 0.2)
    scraper[1].write(REQUEST)
    assert b"200 OK" in await answer(scraper)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n", b"X-Slow: 1\r\n", id="headers drop by drop"),
        pytest.param(b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", b"a", id="body"),
        pytest.param(REQUEST, b"", id="kept alive"),
        pytest.param(REQUEST + b"GET / HTTP/1.1\r\n", b"X-Slow: 1\r\n", id="a second request drop by drop"),
    ],
)
async def test_a_connection_without_a_complete_request_ends_in_time(
    clients: Clients, first: bytes, drop: bytes
) -> None:
    """However little by little a client sends, its time is not extended."""
    began = time.monotonic()
    reader, writer = await clients.connect(first)
    closed = asyncio.ensure_future(_rest(reader))
    while not closed.done():
        assert time.monotonic() < began + 1.5, "still open"
        if drop:
            writer.write(drop)
        await asyncio.sleep(0.05)
    assert time.monotonic() > began + 0.4


async def test_a_client_that_does_not_read_its_answers_is_closed(clients: Clients, view: FakeView) -> None:
    """Answers that nobody takes do not keep a connection open."""
    view.metrics = lambda: bytes(1_000_000)  # type: ignore[method-assign]
    reader, writer = await clients.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
    await asyncio.sleep(1.5)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await _rest(reader)) < 30_000_000


async def _rest(reader: asyncio.StreamReader) -> bytes:
    found = b""
    try:
        async with asyncio.timeout(5):
            while chunk := await reader.read(65536):
                found += chunk
    except ConnectionError:
        pass
    return found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), id="TLS"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(b"\0" * 100 + b"\r\n\r\n", id="zeros"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nHost : y\r\n\r\n", id="space before a colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two lengths",
        ),
        pytest.param(b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="long path"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="many headers"),
        pytest.param(b"GET /\x1b[2Jsecret HTTP/1.1\r\n\x1b: x\r\n\r\n", id="escape sequences"),
    ],
)
async def test_what_is_not_http_gets_a_clean_answer_and_no_traceback(
    clients: Clients, data: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A short 400 that repeats nothing of what was sent, and not a line in the log at level info."""
    with caplog.at_level(logging.INFO):
        said = await clients.say(data)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"server:" not in head.lower()
    assert body == b"malformed request\n"
    assert not caplog.records
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["at once", "later"])
@pytest.mark.parametrize("end", ["abort", "write_eof"])
async def test_a_client_that_goes_away_leaves_nothing_in_the_log(
    clients: Clients, server: AdminServer, end: str, pause: float
) -> None:
    """In the middle of a request, before its answer or behind it."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    bodies = [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"]
    with capture_logs() as logs:
        for data in (b"", b"GET /sta", REQUEST * 30, *(head + body for body in bodies)):
            _, writer = await clients.connect(data)
            await writer.drain()
            await asyncio.sleep(pause)
            getattr(writer.transport, end)()
        await asyncio.sleep(0.1)
        async with aiohttp.ClientSession(server.url) as session:
            assert (await session.get("/healthz")).status == 200
    assert [line for line in logs if line["log_level"] != "debug"] == []


BODY = b"POST /count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n"
UPGRADE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        pytest.param(b"", b"\0", id="zeros"),
        pytest.param(REQUEST, b"\0", id="behind a request"),
        pytest.param(UPGRADE, b"\0", id="behind an upgrade"),
        pytest.param(BODY, b"ffff\r\n" + b"a" * 0xFFFF + b"\r\nno chunk\r\n", id="in a body"),
    ],
)
async def test_garbage_takes_no_memory(server: AdminServer, head: bytes, rest: bytes) -> None:
    """However much is sent, on however many connections, and before any garbage collection."""
    data = head + rest * (1_300_000 // len(rest))
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(6):
            await asyncio.to_thread(_send, server, data)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    ("head", "status", "rest"),
    [
        pytest.param(ENDLESS, b"200 OK", b"a" * 65536, id="length"),
        pytest.param(BODY, b"405 Method Not Allowed", b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n", id="chunks"),
        pytest.param(UPGRADE, b"200 OK", b"a" * 65536, id="upgrade"),
        pytest.param(b"\0\r\n\r\n", b"400 Bad Request", b"a" * 65536, id="garbage"),
    ],
)
async def test_a_body_is_not_read(server: AdminServer, head: bytes, status: bytes, rest: bytes) -> None:
    """The request is answered, and then the connection closes, whatever else is sent: more than fits the system's
    buffers is never taken."""
    sent, said = await asyncio.to_thread(_send, server, head + rest * 1000)
    assert sent < 30_000_000
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in said


def _send(server: AdminServer, data: bytes) -> tuple[int, bytes]:
    """Send as much as the server takes before it closes the connection: how much that was, and the answer."""
    sent, said = 0, b""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=5) as client:
        try:
            while sent < len(data):
                sent += client.send(memoryview(data)[sent:])
        except ConnectionError:
            pass
        try:
            while chunk := client.recv(65536):
                said += chunk
        except ConnectionError:
            pass
    return sent, said


async def test_a_client_that_sends_a_body_late_gets_its_answer(clients: Clients) -> None:
    """The connection is not closed under it; the answer says that it will be."""
    client = await clients.connect(BODY)
    await asyncio.sleep(0.1)
    for _ in range(3):
        client[1].write(b"1\r\na\r\n")
        await asyncio.sleep(0.02)
    said = await answer(client)
    assert said.startswith(b"HTTP/1.1 405")
    assert b"\r\nConnection: close\r\n" in said


@pytest.mark.parametrize("first", [BODY + b"0\r\n\r\n", UPGRADE], ids=["body", "upgrade"])
async def test_nothing_is_read_behind_a_request_with_a_body(clients: Clients, first: bytes) -> None:
    """Requests before it are answered, those behind it are not."""
    said = await clients.say(REQUEST * 3 + first + REQUEST * 3)
    assert said.count(b"HTTP/1.1 ") == 4
    assert said.count(b"Connection: close") == 1


async def test_many_requests_at_once_are_all_answered(clients: Clients) -> None:
    """In their order, long headers among them, and the connection goes on."""
    client = await clients.connect()
    for _ in range(2):
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Long: %b\r\n" % (b"a" * 3000) * 3 + b"\r\n"
        client[1].write((REQUEST + long) * 100)
        for _ in range(100):
            assert b'{"status":"ok"}' in await answer(client)
            assert b'"links"' in await answer(client)


async def test_a_compressed_body_is_not_unpacked(clients: Clients) -> None:
    """10 MB of zeros in 10 kB cost what 10 kB do."""
    bomb = gzip.compress(bytes(10_000_000))
    head = f"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n"
    began = time.process_time()
    said = await clients.say(head.encode() + b"Connection: close\r\n\r\n" + bomb)
    assert said.startswith(b"HTTP/1.1 405")
    assert time.process_time() - began < 0.2


EXHAUSTED = """
import asyncio, os, resource, sys, time
from mess.admin import AdminServer
from tests.unit.admin.test_server import FakeControls, FakeView
from mess.telemetry.logging import configure

configure("info", "json")
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

async def main():
    server = AdminServer("127.0.0.1", 0, FakeView(), FakeControls())
    await server.start()
    port = int(server.url.rpartition(":")[2])
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/healthz', timeout=20).status)"
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(1);" + ask, stdout=-1)
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    began = time.process_time()
    await asyncio.sleep(3)
    print("busy", time.process_time() - began)
    for each in held:
        os.close(each)
    out, _ = await client.communicate()
    print("answered", out.decode().strip())
    await server.stop()

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_without_descriptors_the_server_waits_and_goes_on(loop: str) -> None:
    """It neither burns CPU nor stops listening: a client that came meanwhile is answered as soon as there is room."""
    process = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", EXHAUSTED, loop], capture_output=True, text=True, timeout=40
    )
    assert "answered 200" in process.stdout, process.stdout + process.stderr
    busy = float(process.stdout.partition("busy ")[2].split()[0])
    assert busy < 0.3
    assert 1 <= process.stdout.count("cannot accept connections") <= 10
    assert "Traceback" not in process.stderr


async def test_a_failure_of_the_server_itself_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outside of its pages, too; the client learns nothing of it."""

    async def fail(request: web.Request, response: web.StreamResponse) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(routes, "_without_server", fail)
    server = AdminServer("127.0.0.1", 0, FakeView(), FakeControls())
    await server.start()
    clients = Clients(server)
    with capture_logs() as logs:
        said = await clients.say(REQUEST)
    clients.close()
    await server.stop()
    assert said == b""
    assert [(line["log_level"], str(line["exc_info"][1])) for line in logs] == [("error", "a secret")]


async def test_the_number_of_connections_leaves_descriptors_for_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 64, and at most an eighth of what the process may open."""
    assert (module.MOST, module.TIMEOUT) == (64, 10)
    for soft, most in [(1_000_000, 64), (1024, 64), (256, 32), (16, 4)]:
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=soft: (soft, soft))
        assert module.limit() == most


async def test_connections_that_ended_take_no_place(clients: Clients, server: AdminServer) -> None:
    """However many there were."""
    for _ in range(50):
        assert b"200 OK" in await clients.say(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    idle = [await clients.connect() for _ in range(7)]
    assert b"200 OK" in await answer(await clients.connect(REQUEST))
    assert not await ended(idle[0], 0.1)
