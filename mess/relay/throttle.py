"""How much a step is given at a time: so many events in a second, so many deliveries side by side."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext

from mess.relay.stopping import Stopping


class Throttle:
    """Bounds on a step's work, for all of its lanes together; None sets none.

    `rate` is in events per second. What has been quiet has not saved up: after a pause the rate is the same. `slot` is
    to be held while the step works.
    """

    def __init__(self, rate: float | None, concurrency: int | None, stopping: Stopping) -> None:
        self._rate = rate
        self.slot: AbstractAsyncContextManager[None] = (
            nullcontext() if concurrency is None else asyncio.Semaphore(concurrency)
        )
        self._stopping = stopping
        self._free_at = 0.0

    async def wait(self, events: int) -> None:
        """Wait until so many events may be given. Raises Halted when the relay stops meanwhile."""
        if self._rate is None:
            return
        now = time.monotonic()
        begin = max(now, self._free_at)
        # As all lanes see it at once, before any of them waits.
        self._free_at = begin + events / self._rate
        if begin > now:
            await self._stopping.pause(begin - now)
