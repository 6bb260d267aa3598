"""Waits for MongoDB, and reports meanwhile why it cannot be reached and what to do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pymongo.errors import PyMongoError

from mess.cancellation import cancel
from mess.capture.client import connection_string_of, explain
from mess.capture.diagnosis import diagnose
from mess.errors import SourceUnavailable
from mess.options.backoff import backoff
from mess.telemetry.logging import get_logger

log = get_logger("mess.capture")

T = TypeVar("T")

Connect = Callable[[Any, Callable[[Any], Coroutine[Any, Any, Any]]], Coroutine[Any, Any, Any]]
"""`reach`, with its waiting time fixed."""

CONNECT_SECONDS = 10.0
"""How long commands wait for MongoDB by default."""
_FIRST_LOOK = 0.2
_PAUSE_FIRST, _PAUSE_CAP = 1.0, 10.0
_SLOW_SECONDS = 5.0


async def answer(client: Any) -> dict[str, Any]:
    """The server's `hello`, once it accepts the user.

    Raises SourceUnavailable if it does not answer, NotPermitted for a wrong user or password, and another SourceError
    for a connection string that cannot be used.
    """
    connection_string = connection_string_of(client)
    admin = client.get_database("admin")
    try:
        hello: dict[str, Any] = await admin.command("hello")
        # `hello` needs no authentication, but this does, and it is better to know about a wrong password before
        # anything starts.
        await admin.command("connectionStatus")
    except PyMongoError as error:
        raise explain(error, connection_string.option if connection_string else "mongodb.url") from error
    return hello


async def reach(
    client: Any,
    ask: Callable[[Any], Coroutine[Any, Any, T]],
    *,
    within: float | None = CONNECT_SECONDS,
    say: Callable[[str], None] | None = None,
) -> T:
    """The result of `ask(client)` as soon as MongoDB answers; retried while it raises SourceUnavailable.

    Meanwhile, `say` gets a sentence with the reason and the remedy: the first within 2 s, the next ones after pauses
    that grow to 10 s. After `within` seconds (None: never), raises SourceUnavailable with that sentence. Other errors
    of `ask`, which waiting does not fix, are raised immediately.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    deadline = math.inf if within is None else began + within
    attempt: asyncio.Task[T] | None = None
    looks = 0
    try:
        while True:
            attempt = attempt or asyncio.ensure_future(ask(client))
            pause = backoff(looks, first=_PAUSE_FIRST, multiplier=2, cap=_PAUSE_CAP) if looks else _FIRST_LOOK
            await asyncio.wait({attempt}, timeout=max(0.0, min(pause, deadline - clock())))
            failure = _failure(attempt)
            if attempt.done() and failure is None:
                return attempt.result()
            looks += 1
            reason = await diagnose(client)
            if attempt.done() and failure is None:
                continue  # it has ended in the meantime
            if clock() >= deadline:
                raise SourceUnavailable(f"{reason or _unexplained(client, failure)} (gave up after {within:g} s)")
            if say is not None and (reason or failure or clock() - began > _SLOW_SECONDS):
                say(reason or _unexplained(client, failure))
            if failure is not None:  # the driver has given up by itself
                attempt = None
                await asyncio.sleep(max(0.0, min(pause, deadline - clock())))
    finally:
        if attempt is not None:
            await cancel(attempt)


def _failure(attempt: asyncio.Task[Any]) -> SourceUnavailable | None:
    """The failure after which to retry; None while the attempt lasts, and for every other result."""
    failure = attempt.exception() if attempt.done() else None
    if not isinstance(failure, SourceUnavailable):
        return None
    log.debug("the driver cannot connect", error=str(failure.__cause__ or failure))
    return failure


def _unexplained(client: Any, failure: SourceUnavailable | None) -> str:
    connection_string = connection_string_of(client)
    where = f" at {connection_string.hosts}" if connection_string else ""
    return f"cannot reach MongoDB{where}: {failure or 'it does not answer'}"
