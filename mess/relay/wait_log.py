"""Logs why steps wait: the same sentence as the API and `/readyz` have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mess.relay.waits import LONG, Place, Waits
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK_EVERY = 10.0
_LOG_AGAIN = 600.0


@dataclass(slots=True)
class WaitLog:
    """Logs why a step has been waiting for long, and again every ten minutes. `waits` finds out, and `now` is the
    server's time in seconds since 1970."""

    waits: Callable[[], Waits]
    now: Callable[[], float]
    _logged: dict[Place, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Check the steps repeatedly, forever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Log what has changed since the last check."""
        found = self.waits().steps
        for place in self._logged.keys() - found.keys():
            del self._logged[place]
        for place, wait in found.items():
            if not wait.lasted(LONG):
                continue
            if time.monotonic() - self._logged.get(place, -_LOG_AGAIN) >= _LOG_AGAIN:
                self._logged[place] = time.monotonic()
                log.warning(wait.text(self.now()))
