"""The server's clock: cluster times are read from it, and this host's clock may be wrong or jump."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any


class ServerClock:
    """What time it is on MongoDB's server, from its last `hello` and this host's monotonic clock.

    Before the first one, this host's own time is all there is.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None

    def observe(self, hello: Mapping[str, Any]) -> None:
        """Set the clock by a `hello` that has just been answered."""
        found = hello.get("localTime")
        if isinstance(found, datetime):
            aware = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
            self._offset = aware.timestamp() - self._monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self._offset is None else self._offset + self._monotonic()
