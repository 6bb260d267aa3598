"""Lets deliveries of a step wait while an operator has paused it."""

from __future__ import annotations

import asyncio

from mess.relay.stopping import Stopping


class Gate:
    """Open at first. `closed` is read for every delivery, so it is a plain attribute; only `close` and `open` set
    it."""

    __slots__ = ("_opened", "closed")

    def __init__(self) -> None:
        self.closed = False
        self._opened = asyncio.Event()

    def close(self) -> None:
        """Let deliveries wait from now on; those in flight go on."""
        self.closed = True
        self._opened.clear()

    def open(self) -> None:
        """Let them continue."""
        self.closed = False
        self._opened.set()

    async def opened(self, stopping: Stopping) -> None:
        """Wait while it is closed. Raises Halted if the relay stops meanwhile."""
        while self.closed:
            await stopping.unless(_wait(self._opened))


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
