"""Guards that aiohttp's client lacks. Uses its internals, which is why pyproject.toml bounds its version."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

_MOST_INTERIM = 16
"""The maximum number of interim answers (1xx) before the final answer."""


class GuardedRequest(aiohttp.ClientRequest):
    """A request that refuses a connection with an unsolicited answer waiting on it, which would be taken for the answer
    to this request. `check` is called right before each sending, once there is a connection, and again right before
    anything is written; what it raises prevents that."""

    check: Callable[[], None]

    def send(self, conn: Connection) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        """See `aiohttp.ClientRequest.send`. Raises ServerDisconnectedError."""
        self.check()
        if conn.protocol is not None and conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError("the endpoint sends unsolicited answers")
        return super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """See `aiohttp.ClientRequest.write_bytes`, which may be a task that begins later."""
        try:
            self.check()
        except Exception as error:
            if conn.protocol is not None:
                conn.protocol.set_exception(error)
            conn.close()
        else:
            await super().write_bytes(writer, conn, content_length)


def guarded_by(check: Callable[[], None]) -> type[GuardedRequest]:
    """The class of requests with this `check`."""
    return type("GuardedRequest", (GuardedRequest,), {"check": staticmethod(check)})


class GuardedConnector(aiohttp.TCPConnector):
    """Connections with a limit on interim answers, which aiohttp would otherwise read into memory without end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        factory: partial[Any] = partial(_GuardedHandler, loop=self._loop)
        self._factory = factory


class _GuardedHandler(ResponseHandler):
    _interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        if data[0].code >= 200:
            self._interim = 0
        else:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                if self._interim == _MOST_INTERIM + 1 and self.transport is not None:
                    self.set_exception(HttpProcessingError(message="too many interim answers (1xx)"))
                    self.transport.abort()
                return
        super().feed_data(data, size)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        # The lost connection is only a consequence, not the cause.
        if self._interim <= _MOST_INTERIM or self._exception is None:
            super().set_exception(exc, *cause)
