"""How commands wait for MongoDB: for a limited time, and with a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import say

if TYPE_CHECKING:
    from mess.capture.reach import Connect
    from mess.config.load import Loaded


def _seconds(text: str) -> float:
    from mess.options.values import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="How long to wait for MongoDB to answer, such as 500ms, 10s or 1m. Default: 10s.",
        parser=_seconds,
        metavar="DURATION",
        show_default=False,
    ),
]


def connecting(timeout: float | None) -> Connect:
    """Return a function that waits for a client's MongoDB for `timeout` seconds (None: `serverSelectionTimeoutMS` of
    its url, else 10 s) and reports on standard error what it waits for. Raises SourceUnavailable."""
    import structlog

    from mess.capture.client import connection_string_of
    from mess.capture.reach import CONNECT_SECONDS, reach
    from mess.telemetry.logging import configure

    if not structlog.is_configured():
        configure("warning", to="stderr")

    async def connect(client: Any, ask: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        connection_string = connection_string_of(client)
        chosen = (timeout, connection_string.waits if connection_string else None, CONNECT_SECONDS)
        within = next(each for each in chosen if each is not None)

        @cache  # each reason once
        def waiting(reason: str) -> None:
            say(f"{reason} (waiting for up to {within:g} s)", err=True)

        return await reach(client, ask, within=within, say=waiting)

    return connect


@asynccontextmanager
async def watched(loaded: Loaded) -> AsyncIterator[Any]:
    """A client of the MongoDB that the config watches, which is not waited for."""
    from mess.capture import client as mongodb

    client = mongodb.connect(loaded.config.mongodb.url, loaded.config.mongodb.driver)
    try:
        yield client
    finally:
        await mongodb.close(client)
