"""An HTTP server that does byte for byte what it is told; the answers that a receiver may give, rightly or wrongly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from hypothesis import strategies as st

SECRET = "xyzzy"
"""Stands in the URL, and in no error."""
SLOW = 0.02
"""Seconds that pass between the pieces of a slow answer, which is in time all the same."""

Ending = Literal["keep", "close", "reset", "half-close", "hang"]


@dataclass(frozen=True)
class Script:
    """What a request gets: `pieces` are sent one after another, `SLOW` seconds apart, then comes `ending`.

    `status` is what the answer says; None where it says none. `whole` tells that it is HTTP, as far as it goes; where
    it is not, the status may be lost with the rest. `endless` goes on sending the last piece.
    """

    pieces: tuple[bytes, ...] = ()
    ending: Ending = "keep"
    status: int | None = None
    whole: bool = True
    retry_after: str | None = None
    endless: bool = False
    unread: bool = False


class Misbehaving:
    """Listens on a port of 127.0.0.1 while it is open. Each request gets the next of `scripts`, then a good answer.

    `ids` are the webhook-ids of the requests, in order of arrival.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.ids: list[str] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{SECRET}?q={SECRET}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.hang_up()
        await self._server.wait_closed()

    async def hang_up(self) -> None:
        """Break every connection."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.ids.append(headers["webhook-id"])
        script = self.scripts.pop(0) if self.scripts else GOOD
        if not script.unread:
            await reader.readexactly(int(headers["content-length"]))
        for number, piece in enumerate(script.pieces):
            if number:
                await asyncio.sleep(SLOW)
            writer.write(piece)
            await writer.drain()
        while script.endless:
            writer.write(script.pieces[-1])
            await writer.drain()
            await asyncio.sleep(0)
        match script.ending:
            case "hang":
                await asyncio.Event().wait()
            case "half-close":
                writer.write_eof()
                await reader.read()
            case "close":
                writer.close()
                await writer.wait_closed()
        return script.ending == "keep"


GOOD = Script((b"HTTP/1.1 204 No Content\r\n\r\n",), status=204)

statuses = st.one_of(
    st.sampled_from([200, 201, 202, 204, 205, 206, 299]),
    st.sampled_from([300, 301, 302, 303, 304, 307, 308, 399]),
    st.sampled_from([400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 418, 422, 425, 428, 429, 451, 499]),
    st.sampled_from([500, 501, 502, 503, 504, 505, 507, 511, 599]),
    st.integers(200, 599),
)
retry_afters = st.one_of(
    st.integers(0, 10**6).map(str),
    st.sampled_from(
        ["", " 5 ", "-1", "1.5", "1e3", "9" * 400, "soon", "\xff", "0x10", "5;", "5, 6", "\u00b2", "inf", "nan"]
    ),
    st.sampled_from(
        ["Wed, 21 Oct 2026 07:28:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359"]
    ),
    st.sampled_from(
        ["Sun, 99 Xxx 2026 99:99:99 GMT", "Sun Nov  6 08:49:37 1994", "1 Jan", "Mon, 1 Jan 2026 0:0:0 +99999999"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
)
_LOCATIONS = st.sampled_from(
    ["/", "https://elsewhere.example/x", "http://[", "//", "", "\xff\xfe", "http://h:99999/", "x" * 3000]
)
_ENCODINGS = st.sampled_from(["gzip", "br", "deflate", "zstd", "x, gzip", ""])
_TYPES = st.sampled_from(["text/html; charset=nonsense", "application/json", "\xff", ""])
_REASONS = st.sampled_from(["OK", "", "Not so good", "\xff", "x" * 500])
_BODIES = st.sampled_from(
    [b"", b"ok", b"\xff\xfe\x00", "ü".encode() * 200, b"<html>" * 50_000, b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
_EMPTY = (204, 205, 304)  # without a body, whatever the headers say


@st.composite
def answers(draw: st.DrawFn) -> Script:
    """An answer with a status; what follows that may be as it should be, or not."""
    status = draw(statuses)
    reason = draw(_REASONS)
    headers: list[tuple[str, str]] = []
    retry_after = draw(st.none() | retry_afters)
    if retry_after is not None:
        headers.append(("Retry-After", retry_after))
    for name, values in (("Location", _LOCATIONS), ("Content-Encoding", _ENCODINGS), ("Content-Type", _TYPES)):
        if draw(st.integers(0, 3)) == 2:
            headers.append((name, draw(values)))
    body = b"" if status in _EMPTY else draw(_BODIES)
    framing = draw(st.sampled_from(_FRAMINGS))
    line = f"HTTP/1.{draw(st.sampled_from('0111'))} {status} {reason}"
    more, sent, ending, whole, endless = framing(body)
    if status in _EMPTY and ("Transfer-Encoding", "chunked") in more:
        whole = False  # the chunks are more than there may be
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in [*headers, *more]), "", ""]).encode("latin-1")
    before = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"][
        : draw(st.integers(0, 2))
    ]
    pieces = (*before, head, *sent) if draw(st.booleans()) else (b"".join([*before, head]), *sent)
    if draw(st.booleans()) and not endless:
        pieces = (b"".join(pieces),)
    return Script(pieces, ending, status, whole, retry_after, endless)


Framing = tuple[Sequence[tuple[str, str]], Sequence[bytes], Ending, bool, bool]
"""Headers, what is sent behind them, how it ends, whether it can be understood, and whether it never ends."""


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


_FRAMINGS = [
    lambda body: ([("Content-Length", str(len(body)))], [body], "keep", True, False),
    lambda body: ([("Content-Length", str(len(body)))], [body], "close", True, False),
    lambda body: ([("Content-Length", str(len(body))), ("Connection", "close")], [body], "close", True, False),
    lambda body: ([("Content-Length", str(len(body)))], [body], "half-close", True, False),
    lambda body: ([("Content-Length", str(len(body)))], [body], "reset", True, False),
    lambda body: ([("Transfer-Encoding", "chunked")], [_chunk(body), b"0\r\n\r\n"], "keep", True, False),
    lambda body: ([], [body], "close", True, False),
    # An answer that nobody asked for comes behind it.
    lambda body: (
        [("Content-Length", str(len(body)))],
        [body, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
        "keep",
        False,
        False,
    ),
    lambda body: (
        [("Content-Length", str(len(body)))],
        [body, b"HTTP/1.1 408 Too Slow\r\n\r\n"],
        "close",
        False,
        False,
    ),
    # Lies.
    lambda body: ([("Content-Length", str(len(body) + 7))], [body], "close", True, False),
    lambda body: ([("Content-Length", str(len(body) + 7))], [body], "hang", True, False),
    lambda body: ([("Content-Length", str(len(body) + 7))], [body], "reset", True, False),
    lambda body: ([("Content-Length", str(len(body)))], [body, b"and more"], "keep", False, False),
    lambda body: ([("Transfer-Encoding", "chunked")], [_chunk(body)], "close", True, False),
    lambda body: ([("Transfer-Encoding", "chunked")], [b"no chunk"], "keep", False, False),
    lambda body: ([("Transfer-Encoding", "chunked")], [_chunk(b"x" * 5000)], "keep", True, True),
    lambda body: ([("Content-Length", "10000000000")], [b"x" * 5000], "keep", True, True),
    lambda body: ([("Content-Length", "1"), ("Transfer-Encoding", "chunked")], [_chunk(body)], "close", False, False),
    lambda body: ([("Content-Length", "much")], [body], "close", False, False),
    lambda body: ([("Content-Length", "-5")], [body], "close", False, False),
    lambda body: ([("Content-Length", "1"), ("Content-Length", "2")], [body], "close", False, False),
    lambda body: ([("X", "x" * 20_000)], [body], "close", False, False),
    lambda body: ([("X y", "z")], [body], "close", False, False),
]

_ENDINGS = st.sampled_from(["close", "reset", "half-close", "hang"])
_BEGINNINGS = [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"]
_STRANGE = [
    *(b"\x16\x03\x01\x00\x00", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 1000, b"HTTP/9.9 200 OK\r\n\r\n", b"{}"),
    *(b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"ICY 200 OK\r\n\r\n"),
]
silences: st.SearchStrategy[Script] = st.one_of(
    st.builds(Script, st.sampled_from(_BEGINNINGS).map(lambda begun: (begun,)), _ENDINGS, unread=st.booleans()),
    st.builds(Script, st.sampled_from(_STRANGE).map(lambda strange: (strange,)), _ENDINGS, whole=st.just(False)),
)
"""Answers without a status: hung up before it, nothing at all, or not HTTP."""
