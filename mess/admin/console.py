"""The console: a page for operators at `/app`. Its files hold no data; what it shows comes from the admin API."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import web

_FOLDER = Path(__file__).parent / "console"
_INDEX = "index.html"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A browser asks each time, and gets 304: after an upgrade no page mixes files of two versions.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


def routes() -> list[web.RouteDef]:
    """The routes of the console's page and of its files."""
    return [web.get("/app", _redirect), web.get("/app/{name:.*}", _file)]


async def _redirect(request: web.Request) -> web.Response:
    # Relative, since a reverse proxy may add a prefix to the path. The page's own links are relative to /app/.
    return web.Response(status=308, headers={**_HEADERS, "Location": "app/"})


async def _file(request: web.Request) -> web.Response:
    path = _paths().get(request.match_info["name"] or _INDEX)
    if path is None:
        raise web.HTTPNotFound
    asset = _asset(path)
    headers = {**_HEADERS, "ETag": f'"{asset.tag}"'}
    if any(each.value in (asset.tag, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = asset.content
    if "gzip" in request.headers.get("Accept-Encoding", "").lower():
        body, headers["Content-Encoding"] = asset.compressed, "gzip"
    return web.Response(body=body, content_type=_TYPES[path.suffix], charset="utf-8", headers=headers)


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes
    tag: str


@cache
def _paths() -> dict[str, Path]:
    """The files that may be asked for, by their path below `/app/`."""
    return {path.relative_to(_FOLDER).as_posix(): path for path in sorted(_FOLDER.rglob("*")) if path.suffix in _TYPES}


@cache
def _asset(path: Path) -> _Asset:
    content = path.read_bytes()
    return _Asset(content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:16])
