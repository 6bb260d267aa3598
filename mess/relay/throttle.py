"""Limits a step's events per second and its concurrent deliveries."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext

from mess.relay.stopping import Stopping


class Throttle:
    """Limits on a step's work, for all of its lanes together; None means no limit.

    `rate` is in events per second. Idle time is not saved up: after a pause the rate is the same. `slot` is held while
    the step works.
    """

    def __init__(self, rate: float | None, concurrency: int | None, stopping: Stopping) -> None:
        self._rate = rate
        self.slot: AbstractAsyncContextManager[None] = (
            nullcontext() if concurrency is None else asyncio.Semaphore(concurrency)
        )
        self._stopping = stopping
        self._free_at = 0.0

    async def wait(self, events: int) -> None:
        """Wait until this many events are allowed. Raises Halted if the relay stops meanwhile."""
        if self._rate is None:
            return
        now = time.monotonic()
        begin = max(now, self._free_at)
        # Updated before waiting, so that all lanes see it immediately.
        self._free_at = begin + events / self._rate
        if begin > now:
            await self._stopping.pause(begin - now)
