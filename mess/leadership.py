"""Whether this process may deliver: of several processes with one relay name, only one is active at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from mess.errors import EndpointDown


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


now: Callable[[], float] = _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
"""A monotonic clock that, where the system has one, also counts the time during which the machine was suspended; in
seconds."""


LAPSED = "this process has not been able to renew its lease, and another may be active"
"""Why nothing may be sent."""


class Leadership:
    """Permission to deliver until the time `until` of the clock `now`, under an `epoch`.

    An active process extends it with every renewal of its lease. A process that was frozen finds it lapsed before it
    sends anything. `epoch` is greater than that of every process that was active before; 0 means unknown.
    """

    __slots__ = ("_extended", "epoch", "until")

    def __init__(self, epoch: int = 0, until: float = math.inf) -> None:
        self.epoch = epoch
        self.until = until
        self._extended = asyncio.Event()

    @property
    def lapsed(self) -> bool:
        """Whether nothing may be sent at present. Without a lease, this does not even read the clock."""
        return self.until != math.inf and now() >= self.until

    def extend(self, until: float) -> None:
        """Allow deliveries until then, a time of `now`; one that is past ends the permission."""
        self.until = until
        if not self.lapsed:
            self._extended.set()

    async def regained(self) -> None:
        """Return as soon as deliveries are allowed."""
        while self.lapsed:
            self._extended.clear()
            await self._extended.wait()

    def check(self) -> None:
        """For a sink, before each request that it sends later than it was called: a retry, or a second part. Raises
        EndpointDown if nothing may be sent at present: the events stay unfinished, and no attempt is counted."""
        if self.lapsed:
            raise EndpointDown(f"not sent: {LAPSED}", shared=True)


ALWAYS = Leadership()
"""Of a process that needs no lease."""
