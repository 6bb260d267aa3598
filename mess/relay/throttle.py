"""Limits a step's events per second and its concurrent deliveries."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext

from mess.relay.breaker import PROBED, CircuitBreaker
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

    @property
    def delay(self) -> float:
        """For how many seconds the next delivery has to wait for the rate; 0 without one."""
        return max(0.0, self._free_at - time.monotonic())

    async def turn(self, breaker: CircuitBreaker, events: int) -> bool:
        """Wait until the breaker and the rate allow this many events; returns whether they are a probe.

        Raises Halted if the relay stops meanwhile.
        """
        while True:
            probing = breaker.state != "closed" and await breaker.acquire()
            await self._wait(events)
            # The sink's state may have changed in the meantime.
            if breaker.state == "closed" or (probing and not breaker.paused):
                return probing
            if probing:
                breaker.report(PROBED)

    async def _wait(self, events: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        begin = max(now, self._free_at)
        # Updated before waiting, so that all lanes see it immediately.
        self._free_at = begin + events / self._rate
        if begin > now:
            await self._stopping.pause(begin - now)
