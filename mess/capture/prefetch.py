"""Reads replies ahead: MongoDB prepares the next ones while the previous ones are decoded and delivered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from mess.cancellation import cancel

_REPLIES = 4


class ReadAhead:
    """A cursor's replies, in order, requested in advance: at most four, and no more while the waiting ones hold
    `max_bytes`.

    `ask` requests one, with RawBSONDocument; after a reply without a cursor id there are no more.
    """

    def __init__(self, ask: Callable[[], Awaitable[Any]], max_bytes: int) -> None:
        self._ask = ask
        self._max_bytes = max_bytes
        self._replies: deque[Any] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def ready(self) -> bool:
        """Whether a reply waits."""
        return bool(self._replies)

    def interrupt(self) -> None:
        """Make `next` return, now or when it is called."""
        self._arrived.set()

    async def next(self) -> Any:
        """Wait for the next reply, and return its `cursor`; None if interrupted. Raises what the request raised."""
        await self._arrived.wait()
        if not self._replies:
            self._arrived.clear()
            return None
        reply = self._replies.popleft()
        if not self._replies:
            self._arrived.clear()
        self._taken.set()
        if isinstance(reply, Exception):
            raise reply
        self._bytes -= len(reply.raw)
        return reply

    async def close(self) -> None:
        """Discard the replies that have not been used."""
        await cancel(self._task)

    async def _run(self) -> None:
        more = True
        while more:
            try:
                cursor = (await self._ask())["cursor"]
            except Exception as error:  # raised in its turn, after the replies before it
                self._put(error)
                return
            more = bool(cursor["id"])
            self._bytes += len(cursor.raw)
            self._put(cursor)
            while len(self._replies) >= _REPLIES or self._bytes >= self._max_bytes:
                self._taken.clear()
                await self._taken.wait()

    def _put(self, reply: Any) -> None:
        self._replies.append(reply)
        self._arrived.set()
