"""Accepts connections at a pace that lets other tasks run."""

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
    """Listening sockets, one for each local address of `host`; port 0 picks a free one.

    Raises OSError (`socket.gaierror` for an unknown name), UnicodeError or OverflowError if there is none.
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
            trouble = error  # such as ::1 for localhost, without IPv6
        else:
            made.setblocking(False)
            sockets.append(made)
    if not sockets:
        raise trouble or OSError(errno.EADDRNOTAVAIL, "no such address")
    return sockets


class Listener:
    """Accepts connections on `sockets` and passes them to protocols made by `factory`.

    Event loops accept all queued connections before running anything else, and uvloop stops listening for good when no
    descriptor is left. This class accepts one connection per iteration of the loop, so that its request is read before
    many others follow; without descriptors, it pauses.
    """

    def __init__(self, sockets: list[socket.socket], factory: Callable[[], asyncio.Protocol]) -> None:
        self.sockets = sockets
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._handing_over: set[asyncio.Task[None]] = set()
        self._listen()

    async def close(self) -> None:
        """Stop listening. Accepted connections stay open: returns once their protocols have them."""
        if self._paused is not None:
            self._paused.cancel()
        for each in self.sockets:
            self._loop.remove_reader(each)
        _close(self.sockets)
        # On cancellation, uvloop would close a transport that its protocol is using, without telling the protocol.
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
            return  # any other error concerns a connection that ended before it was accepted
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
