"""JSON answers of the admin server: without secrets, and safe to print on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from mess.telemetry.logging import redacted
from mess.telemetry.printable import printable_json

NOT_KEPT = {"Cache-Control": "no-store"}


def json_response(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer with this content, which may not be cached."""
    return response_of(encoded(content), status, headers)


def encoded(content: Mapping[str, Any]) -> bytes:
    """The content as JSON, without secrets."""
    shown = redacted(content)
    try:
        text = orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE).decode()
    except TypeError:  # text from outside may contain lone surrogates, which orjson refuses
        text = json.dumps(shown) + "\n"
    return printable_json(text).encode()


def response_of(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer with a body that was `encoded`."""
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={**NOT_KEPT, **(headers or {})},
    )
