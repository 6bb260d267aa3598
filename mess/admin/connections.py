"""The admin port's open connections, limited in number and in how long each may keep the server waiting."""

from __future__ import annotations

import asyncio
from typing import Any

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from mess.telemetry.logging import get_logger

MOST = 64
"""The maximum number of open connections."""
MOST_TAILS = 128
"""The maximum number of live tails. They are counted apart from other connections, since they stay open."""
TIMEOUT = 10.0
"""Seconds that a connection has to send a complete request, and to receive the answer."""

# Large enough for any browser or scraper; together with MOST they limit the memory that clients can use.
PARSER_LIMITS: dict[str, Any] = {
    "max_line_size": 4096,
    "max_field_size": 4096,
    "max_headers": 64,
    # A compressed body is never read, and must not be decompressed just to be discarded.
    "auto_decompress": False,
    # Seconds before a connection closes whose request had a body. If it closed immediately, a client that is still
    # sending would get a reset before it has read the answer.
    "lingering_time": 1.0,
}

# The number of bytes parsed at a time: an error repeats them several times.
_PIECE = 1024
WITH_BODY = "/api/v1/"
"""The beginning of the paths to which requests with a body can be sent; no other bodies are read."""
BODY_LIMIT = 1024 * 1024
"""The size of a body in bytes is at most this."""
_BODY_ROOM = BODY_LIMIT + 64 * 1024  # so that one byte more is noticed, with whatever chunks cost

# If descriptors are scarce, most are for deliveries.
_SHARE, _FEWEST = 8, 4

log = get_logger("mess.admin")


def limit(most: int | None = None) -> int:
    """`most` (default: MOST), or an eighth of the process's descriptors if that is less."""
    most = MOST if most is None else most
    if resource is None:
        return most
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(_FEWEST, min(most, soft // _SHARE))


class Connections:
    """Creates aiohttp's protocols, and closes connections that block others.

    When `most` are open, a new connection closes the one that has waited longest without a complete request. If all are
    being answered, it closes the one whose answer has taken longest. Each closes after `timeout` seconds without a
    complete request, counted from its start or its last answer, whatever it sends meanwhile. Live tails do not count
    and stay open.
    """

    def __init__(self, server: web.Server, most: int, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._most = most
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        # In the order in which they started to wait, or to be answered.
        self._waiting: dict[Connection, asyncio.TimerHandle] = {}
        self._answering: dict[Connection, asyncio.TimerHandle] = {}
        self._tails: set[Connection] = set()
        self._most_tails = limit(MOST_TAILS)

    def make(self) -> Connection:
        """A protocol for an accepted connection."""
        return Connection(self, self._server, loop=self._loop, access_log=None, **PARSER_LIMITS)

    def opened(self, connection: Connection) -> None:
        """A connection has been accepted; make room for it."""
        while len(self._waiting) + len(self._answering) >= self._most:
            self._close(next(iter(self._waiting or self._answering)))
        self._waiting[connection] = self._deadline(connection)

    def answering(self, connection: Connection) -> None:
        """A connection has sent a complete request."""
        self._move(connection, self._waiting, self._answering)

    def answered(self, connection: Connection) -> None:
        """Its answer has been written; it may send another request."""
        self._move(connection, self._answering, self._waiting)

    def tailing(self, connection: Connection) -> bool:
        """A connection that is being answered becomes a live tail, which may stay open; False if there are too many."""
        if connection not in self._answering or len(self._tails) >= self._most_tails:
            return False
        self._answering.pop(connection).cancel()
        self._tails.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        self._tails.discard(connection)
        for group in (self._waiting, self._answering):
            if (timer := group.pop(connection, None)) is not None:
                timer.cancel()

    def _move(
        self,
        connection: Connection,
        old: dict[Connection, asyncio.TimerHandle],
        new: dict[Connection, asyncio.TimerHandle],
    ) -> None:
        if (timer := old.pop(connection, None)) is not None:
            timer.cancel()
            new[connection] = self._deadline(connection)

    def _deadline(self, connection: Connection) -> asyncio.TimerHandle:
        return self._loop.call_later(self._timeout, self._close, connection)

    def _close(self, connection: Connection) -> None:
        self.closed(connection)
        transport = connection.transport
        connection.force_close()
        if transport is not None:
            # A graceful close would wait for a client that does not read.
            transport.abort()


class Connection(web.RequestHandler):
    """aiohttp's protocol, which reports to `Connections` and answers malformed requests briefly.

    Anything but a request without a body is the last that is read from a connection: it is answered, and the connection
    closes. Only the API's bodies are read.
    """

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._unparsed = b""
        self._last_received = False
        self._body_room = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self._connections.closed(self)
        self._unparsed = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. The base class calls it without data, to continue after requests have been
        answered."""
        if self._last_received:
            self._body_received(data)
            return
        data, self._unparsed = self._unparsed + data, b""
        start = 0
        while not self._last_received:
            known = len(self._messages)
            super().data_received(data[start : start + _PIECE])
            start += _PIECE
            self._end_with_last(known)
            if start >= len(data):
                break
            if len(self._messages) >= self._max_msg_queue_size:
                self._unparsed = data[start:]
                return
        if self._last_received:
            self._body_received(data[start:])

    def _body_received(self, data: bytes) -> None:
        """Pass on more of the last request's body, as far as there is room, and nothing after it."""
        if self._body_room > 0 and data:
            known = len(self._messages)
            super().data_received(data[: self._body_room])
            self._body_room -= len(data)
            self._drop_after(known)
        if self._body_room <= 0 and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _end_with_last(self, known: int) -> None:
        """Stop reading if one of the requests after the first `known` ones is to be the last."""
        for index in range(known, len(self._messages)):
            message, payload = self._messages[index]
            if not isinstance(message, RawRequestMessage):
                # Its frames reference all that was read, and the error itself: only the garbage collector would free
                # them.
                message.exc.__traceback__ = None
            elif payload is EMPTY_PAYLOAD and not message.upgrade:
                continue
            self._drop_after(index + 1)
            self._last_received = True
            if not isinstance(message, RawRequestMessage) or message.method != "POST":
                return
            if message.path.startswith(WITH_BODY) and not message.upgrade:
                self._body_room = _BODY_ROOM
            return

    def _drop_after(self, known: int) -> None:
        while len(self._messages) > known:
            self._messages.pop()
        # Data after a declined upgrade would be parsed all at once.
        self._upgraded, self._message_tail = False, b""

    def answering(self) -> None:
        """A complete request has arrived."""
        self._connections.answering(self)

    def tailing(self) -> bool:
        """Its answer is a live tail, after which it closes. Returns False if there are too many."""
        self._last_received = True
        return self._connections.tailing(self)

    def abort(self) -> None:
        """Close it at once: the client does not read."""
        if self.transport is not None:
            self.transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """See `aiohttp.web.RequestHandler`."""
        if self._last_received and not self._messages:
            resp.force_close()
        if resp.status == 417:
            # aiohttp answers this before any page or middleware, and repeats what the client sent.
            resp = _Bare(417, b"Expectation Failed", b"unknown expectation\n")
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._connections.answered(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer data that is not HTTP. The base class would log a traceback and repeat what the client sent."""
        if status >= 500:
            _log_failure(exc)
            return _Bare(500, b"Internal Server Error", b"the admin server failed; the relay's log says why\n")
        log.debug("malformed request", remote=request.remote, reason=type(exc).__name__)
        return _Bare(400, b"Bad Request", b"malformed request\n")

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Called for failures outside of a page. After a connection has ended, they are not errors."""
        error = kwargs.get("exc_info")
        if self.transport is None or self.transport.is_closing():
            log.debug("connection ended early", reason=type(error).__name__)
        else:
            _log_failure(error)


def _log_failure(error: BaseException | None) -> None:
    log.error("the admin server failed", exc_info=(type(error), error, error and error.__traceback__))


class _Bare(web.Response):
    """A minimal response, since aiohttp would add its name and version."""

    def __init__(self, status: int, reason: bytes, text: bytes) -> None:
        super().__init__(status=status)
        self.force_close()
        self._answer = (
            b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, reason, len(text), text)
        )

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole answer."""
        if request.transport is not None and not request.transport.is_closing():
            request.transport.write(self._answer)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""
