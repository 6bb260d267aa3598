"""What one live tail has yet to be sent."""

from __future__ import annotations

import asyncio
from collections import deque

MOST_EVENTS = 1000
"""How many events wait for a client at most."""
MOST_BYTES = 4 * 1024**2
"""How many bytes wait for a client at most."""
MOST_BYTES_IN_ALL = 32 * 1024**2
"""How many bytes wait for all clients together at most; an event that several wait for counts for each."""


class Total:
    """The bytes that wait for all clients."""

    def __init__(self, most: int = MOST_BYTES_IN_ALL) -> None:
        self.most = most
        self.bytes = 0


class TailClient:
    """A bounded queue: when it is full, newer events are left out and counted.

    `missed` counts the events that its filter selects and that it does not get. With `limit`, it takes no more than
    that many events.
    """

    def __init__(self, total: Total, limit: int | None = None) -> None:
        self.missed = 0
        self.closed = False
        self._total = total
        self._left = limit
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Queue an event."""
        if self._left == 0:
            return
        size = len(frame)
        total = self._total
        if (
            len(self._frames) >= MOST_EVENTS
            or self._bytes + size > MOST_BYTES
            or total.bytes + size > total.most
            or self.closed
        ):
            self.missed += 1
            return
        if self._left is not None:
            self._left -= 1
        self._frames.append(frame)
        self._bytes += size
        total.bytes += size
        self._woken.set()

    def take(self, most: int) -> list[bytes]:
        """Remove the oldest frames: up to about this many bytes, and at least one if there is any."""
        taken: list[bytes] = []
        while self._frames and most > 0:
            frame = self._frames.popleft()
            taken.append(frame)
            most -= len(frame)
            self._bytes -= len(frame)
            self._total.bytes -= len(frame)
        if not self._frames and not self.closed:
            self._woken.clear()
        return taken

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._frames

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: it was closed, or has reached its limit."""
        return not self._frames and (self.closed or self._left == 0)

    async def wait(self, seconds: float) -> None:
        """Return when there is something to take, when it is closed, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Accept no more events."""
        self.closed = True
        self._woken.set()

    def discard(self) -> None:
        """Close it and forget what waits."""
        self.close()
        self._total.bytes -= self._bytes
        self._bytes = 0
        self._frames.clear()
