"""Ends publications when the lease lapses, so that the broker's client sends no more of what it still holds."""

from __future__ import annotations

import asyncio
import math

from mess.leadership import Leadership, now


class LeaseEnd:
    """The time limits of publications that are under way, which end at once when `leadership` lapses.

    There is one timer for all of them, and none without a lease.
    """

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._limits: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limit: asyncio.Timeout) -> None:
        """Watch a limit that has begun."""
        if self._leadership.until == math.inf:
            return
        self._limits.add(limit)
        if self._timer is None:
            self._look()

    def discard(self, limit: asyncio.Timeout) -> None:
        """Watch it no more."""
        self._limits.discard(limit)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if self._leadership.lapsed:
            for limit in self._limits:
                if not limit.expired():  # one that has may still be closing its connection
                    limit.reschedule(loop.time())
        elif self._limits:
            self._timer = loop.call_later(self._leadership.until - now(), self._look)
