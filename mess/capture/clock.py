"""The server's clock. Cluster times come from it, and this host's clock may be wrong or jump."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any


class ServerClock:
    """The time on MongoDB's server, from its last `hello` and this host's monotonic clock.

    Before the first `hello`, it is this host's time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None

    def observe(self, hello: Mapping[str, Any]) -> None:
        """Set the clock from a `hello` reply that has just arrived."""
        found = hello.get("localTime")
        if isinstance(found, datetime):
            aware = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
            self._offset = aware.timestamp() - self._monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self._offset is None else self._offset + self._monotonic()
