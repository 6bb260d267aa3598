"""The request bin's page: three files, and a stream of what they show."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mess.admin.hosts import Hosts
from mess.demo.history import MOST, History

MOST_PAGES = 16
"""How many pages may follow at the same time."""
_IDLE_SECONDS = 15.0  # shorter than the patience of proxies, and of users for a page that has lost its server
_WRITE_SECONDS = 10.0
_FOLDER = Path(__file__).parent / "page"
_FILES = {
    "/bin": ("bin.html", "text/html"),
    "/bin.js": ("bin.js", "text/javascript"),
    "/bin.css": ("bin.css", "text/css"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def guard(hosts: Hosts) -> Middleware:
    """Refuses requests to other host names, with which a foreign page could read what is shown: see
    `mess.admin.hosts`."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (name := hosts.refused(request.headers.getall("Host", ()))) is not None:
            text = f"this server does not answer to the host name {name}\n"
            return web.Response(status=web.HTTPMisdirectedRequest.status_code, text=text, headers=_HEADERS)
        return await handler(request)

    return check


def add_pages(app: web.Application, history: History, console: str) -> None:
    """Add the page that shows `history`, with a link to `console`."""
    feed = _Feed(history, console)
    app.router.add_get("/bin/events", feed.events)
    app.router.add_get("/", _to_page)
    app.router.add_get("/favicon.ico", _no_icon)
    for path in _FILES:
        app.router.add_get(path, _file)


async def _file(request: web.Request) -> web.StreamResponse:
    name, kind = _FILES[request.path]
    return web.Response(body=(_FOLDER / name).read_bytes(), content_type=kind, charset="utf-8", headers=_HEADERS)


async def _to_page(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/bin")


async def _no_icon(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204, headers=_HEADERS)


class _Feed:
    """Server-sent events. A page that reads slowly holds up nothing: it misses what the history has dropped."""

    def __init__(self, history: History, console: str) -> None:
        self._history = history
        self._console = console
        self._pages = 0

    async def events(self, request: web.Request) -> web.StreamResponse:
        if self._pages >= MOST_PAGES:
            return web.Response(status=503, text=f"{MOST_PAGES} pages are open already\n", headers=_HEADERS)
        self._pages += 1
        try:
            response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
            await response.prepare(request)
            await self._follow(response, _number(request.headers.get("Last-Event-ID", "")))
            return response
        except TimeoutError:  # it does not read
            if request.transport is not None:
                request.transport.abort()
            return response
        finally:
            self._pages -= 1

    async def _follow(self, response: web.StreamResponse, seen: int) -> None:
        history, act = self._history, ""
        if seen > history.count:  # a page of an earlier demo that had the same port
            seen = 0
        await _send(response, "hello", {"console": self._console, "most": MOST})
        while True:
            news = history.news
            if act != history.act:
                act = history.act
                await _send(response, "act", act)
            for number, request in history.after(seen):
                await _write(response, b"id: %d\ndata: %b\n\n" % (number, request.as_json(number)))
                seen = number
            if history.closed:
                await _send(response, "end", {})
                return
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await news.wait()
            except TimeoutError:
                await _write(response, b":\n\n")


async def _send(response: web.StreamResponse, event: str, data: object) -> None:
    await _write(response, b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data)))


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(data)


def _number(text: str) -> int:
    """The last number that a page has, when it connects again."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
