"""The console's files, as the admin server sends them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mess.admin import console

FOLDER = Path(console.__file__).parent / "console"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that takes what it gets: redirects are not followed, and nothing is decompressed."""
    app = web.Application()
    app.add_routes(console.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}", auto_decompress=False) as session:
        yield session
    await runner.cleanup()


async def test_the_page_may_load_nothing_from_elsewhere_and_not_be_framed(client: aiohttp.ClientSession) -> None:
    """Not even a script of its own inside the page."""
    async with client.get("/app/", headers={"Accept-Encoding": "identity"}) as got:
        assert (got.status, got.content_type, got.charset) == (200, "text/html", "utf-8")
        assert await got.read() == (FOLDER / "index.html").read_bytes()
        policy = dict(part.strip().split(" ", 1) for part in got.headers["Content-Security-Policy"].split(";"))
        assert policy.pop("img-src") == "'self' data:"
        assert {name for name, value in policy.items() if value == "'self'"} == {
            "script-src",
            "style-src",
            "connect-src",
        }
        rest = {name for name, value in policy.items() if value == "'none'"}
        assert rest == {"default-src", "base-uri", "form-action", "frame-ancestors"}
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Referrer-Policy"] == "no-referrer"


async def test_the_address_without_a_slash_leads_to_the_one_with_it(client: aiohttp.ClientSession) -> None:
    """Relative to itself, so that a proxy's prefix stays."""
    async with client.get("/app", allow_redirects=False) as got:
        assert (got.status, got.headers["Location"]) == (308, "app/")


async def test_a_browser_that_has_a_file_gets_it_only_if_it_has_changed(client: aiohttp.ClientSession) -> None:
    """It asks each time, since files of two versions do not fit together."""
    async with client.get("/app/app.js", headers={"Accept-Encoding": "gzip, br"}) as got:
        assert (got.headers["Content-Encoding"], got.headers["Cache-Control"]) == ("gzip", "no-cache")
        assert gzip.decompress(await got.read()) == (FOLDER / "app.js").read_bytes()
        tag = got.headers["ETag"]
    async with client.get("/app/app.js", headers={"If-None-Match": f'"other", {tag}'}) as got:
        assert (got.status, await got.read()) == (304, b"")
    async with client.get("/app/app.js", headers={"If-None-Match": '"other"'}) as got:
        assert got.status == 200


@pytest.mark.parametrize(
    "path", ["nothing.js", "../console.py", "%2e%2e/console.py", "vendor/preact.LICENSE", "vendor"]
)
async def test_only_the_console_is_served(client: aiohttp.ClientSession, path: str) -> None:
    """No other file, wherever it is."""
    async with client.get(f"/app/{path}") as got:
        assert got.status == 404


def test_all_text_from_outside_stays_text() -> None:
    """No own script makes elements, styles or code of a text."""
    for path in FOLDER.glob("*.js"):
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=$",
        ):
            assert word not in path.read_text(), path


def test_libraries_have_their_licences_beside_them() -> None:
    """As the licences ask for."""
    files = {path.name for path in (FOLDER / "vendor").iterdir()}
    assert {"preact.LICENSE", "htm.LICENSE", "uplot.LICENSE"} < files
