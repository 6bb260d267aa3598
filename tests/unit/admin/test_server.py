"""The admin server's pages, over HTTP, with a view that says what each test wants."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mess.admin import AdminServer
from mess.admin.hosts import Hosts
from mess.admin.json_response import json_response
from mess.admin.routes import CONTROLS, make_app
from mess.errors import ConfigError
from mess.telemetry.metrics import Metrics


class FakeView:
    def __init__(self) -> None:
        self.changed = 7
        self.reasons: list[str] = []
        self.sinks: list[str] = []
        self.others: list[str] = []
        self.extra: dict[str, Any] = {}
        self.shown_role: dict[str, Any] | None = None

    @property
    def discreet(self) -> FakeView:
        return self

    def status(self) -> dict[str, Any]:
        return {"name": "mess", "version": "1.2.3", **self.extra}

    def role(self) -> dict[str, Any] | None:
        return self.shown_role

    def problems(self) -> list[str]:
        return self.reasons

    def sink_problems(self) -> list[str]:
        return self.sinks

    def warnings(self) -> list[str]:
        return self.others

    def metrics(self) -> bytes:
        return Metrics("1.2.3").render()


class FakeControls:
    store = None

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
async def server(view: FakeView) -> AsyncIterator[AdminServer]:
    server = AdminServer("127.0.0.1", 0, view, FakeControls())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def http(server: AdminServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as session:
        yield session


async def test_the_root_tells_the_count_and_the_way(http: aiohttp.ClientSession) -> None:
    """As the Node.js tool did, and where everything else is."""
    answer = await http.get("/")
    assert await answer.json() == {
        "changed": 7,
        "name": "mess",
        "version": "1.2.3",
        "links": {"app": "/app/"} | {page: f"/{page}" for page in ("count", "status", "healthz", "readyz", "metrics")},
    }


async def test_count(http: aiohttp.ClientSession, view: FakeView) -> None:
    """The count alone, as it is now."""
    assert await (await http.get("/count")).json() == {"changed": 7}
    view.changed = 8
    assert await (await http.get("/count")).json() == {"changed": 8}


async def test_every_link_leads_somewhere(http: aiohttp.ClientSession) -> None:
    """And nothing that changes is kept by a cache; HEAD works like GET."""
    links = (await (await http.get("/")).json())["links"]
    for path in ["/", *links.values()]:
        got = await http.get(path)
        kept = "no-cache" if path == "/app/" else "no-store"  # the console's files are kept, but not used unasked
        assert (got.status, got.headers["Cache-Control"]) == (200, kept)
        head = await http.head(path)
        assert (head.status, await head.read()) == (200, b"")
        assert head.content_type == got.content_type


async def test_status(http: aiohttp.ClientSession, view: FakeView) -> None:
    """All of it; what JSON does not know as text, and secrets not at all."""
    view.extra = {"since": datetime(2026, 7, 1, tzinfo=timezone.utc), "source": {"url": "mongodb://user:pass@host/db"}}
    assert await (await http.get("/status")).json() == {
        "name": "mess",
        "version": "1.2.3",
        "since": "2026-07-01T00:00:00+00:00",
        "source": {"url": "mongodb://***@host/db"},
    }


async def test_ready_or_not(http: aiohttp.ClientSession, view: FakeView) -> None:
    """Not ready is 503, with every reason; alive all the same."""
    ready = await http.get("/readyz")
    assert (ready.status, await ready.json()) == (200, {"ready": True, "reasons": [], "warnings": []})
    view.reasons = ["stream shop: MongoDB at mongodb://u:p@h does not answer", "state: cannot store the checkpoints"]
    ready = await http.get("/readyz")
    assert ready.status == 503
    assert await ready.json() == {
        "ready": False,
        "reasons": ["stream shop: MongoDB at mongodb://***@h does not answer", "state: cannot store the checkpoints"],
        "warnings": [],
    }
    alive = await http.get("/healthz")
    assert (alive.status, await alive.json()) == (200, {"status": "ok"})


async def test_which_process_is_active(http: aiohttp.ClientSession, view: FakeView) -> None:
    """With `ha`, readiness says whether this is a standby, and who is active."""
    view.shown_role = {"name": "standby", "active": {"host": "ops-1"}}
    ready = await http.get("/readyz")
    assert (ready.status, (await ready.json())["role"]) == (200, view.shown_role)


@pytest.mark.parametrize("text", ["\x9b31m red", "\x7f", "\u202e txt.exe", "\u2028", "\ud800\x9b", "plain \u00e4\n"])
async def test_what_others_said_commands_no_terminal(http: aiohttp.ClientSession, view: FakeView, text: str) -> None:
    """An operator looks at it with curl; it means the same."""
    view.others = [text]
    answer = await (await http.get("/readyz")).read()
    assert not any(0x7F <= ord(each) < 0xA0 or 0x2028 <= ord(each) < 0x202F for each in answer.decode())
    assert json.loads(answer)["warnings"] == [text]


async def test_a_sink_that_is_down_is_a_warning_unless_the_caller_asks_for_sinks(
    http: aiohttp.ClientSession, view: FakeView
) -> None:
    """Otherwise a receiver that is down would block every roll-out of the relay, the fix included."""
    view.sinks = ["step http of pipeline shop: answered 503"]
    view.others = ["stream shop is full (10,000 of 10,000 events); blocked for 3 min"]
    ready = await http.get("/readyz")
    assert ready.status == 200
    assert await ready.json() == {"ready": True, "reasons": [], "warnings": [*view.sinks, *view.others]}
    asked = await http.get("/readyz?sinks=true")
    assert asked.status == 503
    assert await asked.json() == {"ready": False, "reasons": view.sinks, "warnings": view.others}
    assert (await http.get("/readyz?sinks=false")).status == 200
    view.sinks = []
    assert (await http.get("/readyz?sinks=true")).status == 200, "other warnings never count"


async def test_metrics(http: aiohttp.ClientSession) -> None:
    """In the format that Prometheus asks for."""
    answer = await http.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'mess_build_info{version="1.2.3"} 1.0' in await answer.text()


async def test_only_the_count_is_for_pages_of_any_origin(http: aiohttp.ClientSession) -> None:
    """The status is for operators."""
    open_to_all = []
    for path in ("/", "/count", "/status", "/healthz", "/readyz", "/metrics", "/nowhere"):
        answer = await http.get(path, headers={"Origin": "https://elsewhere.example"})
        if answer.headers.get("Access-Control-Allow-Origin") == "*":
            open_to_all.append(path)
    assert open_to_all == ["/", "/count"]


async def test_what_is_not_there_is_told_in_json(http: aiohttp.ClientSession) -> None:
    """Unknown pages, and methods that a page does not take."""
    nowhere = await http.get("/nowhere")
    assert (nowhere.status, nowhere.content_type) == (404, "application/json")
    assert (await nowhere.json())["error"] == "there is no /nowhere"
    wrong = await http.post("/count")
    assert (wrong.status, await wrong.json()) == (405, {"error": "/count does not support POST"})
    assert wrong.headers["Allow"] == "GET,HEAD"


async def test_a_page_that_fails_tells_no_details(
    http: aiohttp.ClientSession, view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are for the log; the server goes on."""

    def fail() -> list[str]:
        raise RuntimeError("secret")

    monkeypatch.setattr(view, "problems", fail)
    answer = await http.get("/readyz")
    assert answer.status == 500
    assert "secret" not in await answer.text()
    assert (await http.get("/healthz")).status == 200


async def test_a_port_in_use() -> None:
    """A mistake in the config, with the key and both ways to fix it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await AdminServer("127.0.0.1", port, FakeView(), FakeControls()).start()
    assert str(caught.value) == f"admin.port: {port} on 127.0.0.1 is already in use; set admin.port, or PORT"


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid", "a" * 80])
async def test_an_address_that_is_not_this_machines(host: str) -> None:
    """Told with what to write instead."""
    with pytest.raises(ConfigError, match=rf"^admin\.host: {host} is not an address of this machine; set admin\.host"):
        await AdminServer(host, 0, FakeView(), FakeControls()).start()


async def test_a_port_that_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Low ports belong to root. (The tests may run as root.)"""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "permission denied")

    monkeypatch.setattr("socket.create_server", refuse)
    with pytest.raises(ConfigError, match=r"admin\.port: 80 on 127\.0\.0\.1 may not be used by this user"):
        await AdminServer("127.0.0.1", 80, FakeView(), FakeControls()).start()


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_the_url_can_be_opened(host: str, shown: str) -> None:
    """With the port it got, whatever address it listens on."""
    server = AdminServer(host, 0, FakeView(), FakeControls())
    try:
        await server.start()
    except ConfigError:
        pytest.skip(f"this machine has no {host}")
    assert server.url.startswith(f"http://{shown}:")
    async with aiohttp.ClientSession(server.url) as session:
        assert (await session.get("/healthz")).status == 200
    await server.stop()


async def test_stopping_is_quick_and_may_be_repeated(view: FakeView) -> None:
    """Open keep-alive connections do not hold it up, and the port is free again."""
    server = AdminServer("127.0.0.1", 0, view, FakeControls())
    with pytest.raises(RuntimeError):
        _ = server.url
    await server.start()
    url = server.url
    async with aiohttp.ClientSession(url) as session:
        await (await session.get("/count")).read()
        await asyncio.wait_for(server.stop(), 1.5)
        await server.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/count")
    again = AdminServer("127.0.0.1", int(url.rpartition(":")[2]), view, FakeControls())
    await again.start()
    await again.stop()


async def test_a_text_that_is_no_unicode_is_shown_all_the_same() -> None:
    """A sink's answer may hold bytes that no UTF-8 has; the page is not the place to fail."""
    body = json_response({"reasons": ["a redirect to \udcff"]}).body
    assert isinstance(body, bytes)
    assert json.loads(body) == {"reasons": ["a redirect to \udcff"]}


async def test_a_route_can_act_on_the_relay(view: FakeView) -> None:
    """By the relay's controls, which the application holds."""
    controls = FakeControls()
    app = make_app(view, controls, Hosts(["127.0.0.1"]))

    async def stop(request: web.Request) -> web.Response:
        request.app[CONTROLS].stop()
        return web.Response()

    app.router.add_post("/stop", stop)
    async with TestClient(TestServer(app)) as client:
        assert (await client.post("/stop")).status == 200
    assert controls.stopped
