"""Accepting connections, at a pace that leaves everything else its turn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from mess.telemetry.logging import get_logger

_BACKLOG = 256
_PAUSE = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = get_logger("mess.admin")


async def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets, one for each address of `host` that this machine has; port 0 picks a free one.

    Raises OSError (`socket.gaierror` for an unknown name), UnicodeError or OverflowError when there is none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    trouble: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        if sockets and not port:
            port = sockets[0].getsockname()[1]
        try:
            made = socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                _close(sockets)
                raise
            trouble = error  # as ::1 of localhost, where there is no IPv6
        else:
            made.setblocking(False)
            sockets.append(made)
    if not sockets:
        raise trouble or OSError(errno.EADDRNOTAVAIL, "no such address")
    return sockets


class Listener:
    """Accepts connections of `sockets`, and hands them to protocols that `factory` makes.

    Event loops accept all that have queued up before anything else gets its turn, and uvloop's stop listening for good
    when no descriptor is left. Here one connection is accepted in each turn of the loop, so that what it sent is read
    before many others follow; without descriptors accepting pauses.
    """

    def __init__(self, sockets: list[socket.socket], factory: Callable[[], asyncio.Protocol]) -> None:
        self.sockets = sockets
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._handing_over: set[asyncio.Task[None]] = set()
        self._listen()

    async def close(self) -> None:
        """Stop listening. Connections already accepted stay: return when their protocols have them."""
        if self._paused is not None:
            self._paused.cancel()
        for each in self.sockets:
            self._loop.remove_reader(each)
        _close(self.sockets)
        # Cancelled, uvloop would close a transport whose protocol works with it, and not tell the protocol.
        await asyncio.gather(*self._handing_over)

    def _listen(self) -> None:
        self._paused = None
        for each in self.sockets:
            self._loop.add_reader(each, self._accept, each)

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED and self._paused is None:
                log.warning("the admin server cannot accept connections for now", error=error, pause=_PAUSE)
                for each in self.sockets:
                    self._loop.remove_reader(each)
                self._paused = self._loop.call_later(_PAUSE, self._listen)
            return  # any other error is the connection's own, which ended before it was accepted
        accepted.setblocking(False)
        task = self._loop.create_task(self._hand_over(accepted))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    async def _hand_over(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(self._factory, accepted)


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
