"""Spaces out the probes of a step whose destinations are down, so that many of them do not cause a storm of probes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable


class ProbePacer:
    """Admits one probe at a time from a queue: each `spacing` seconds after the previous one, or immediately when a
    destination has recovered, since the others may have recovered too."""

    def __init__(self, spacing: float) -> None:
        self._spacing = spacing
        self._free_at = 0.0
        self._queue: deque[Callable[[], bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def request(self, offer: Callable[[], bool]) -> None:
        """Call `offer` when its turn has come; it returns whether it made use of it."""
        self._queue.append(offer)
        if self._timer is None:
            self._admit()

    def hurry(self) -> None:
        """A destination has recovered: admit the next probe now."""
        self._free_at = 0.0
        if self._timer is not None:
            self._timer.cancel()
            # Not within this call, which is in the middle of closing a breaker.
            self._timer = asyncio.get_running_loop().call_soon(self._fire)  # type: ignore[assignment]

    def _fire(self) -> None:
        self._timer = None
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            now = time.monotonic()
            if now < self._free_at:
                self._timer = asyncio.get_running_loop().call_later(self._free_at - now, self._fire)
                return
            if self._queue.popleft()():
                self._free_at = now + self._spacing
