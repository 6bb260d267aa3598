"""Clients of live tails that want the same events."""

from __future__ import annotations

from mess.event import Event
from mess.telemetry.tail.client import TailClient
from mess.telemetry.tail.filter import TailFilter
from mess.telemetry.tail.pace import Bucket
from mess.telemetry.tail.path import EventPath

PER_SECOND = 500
"""How many events a second each client gets at most."""
_AT_ONCE = 125


class Selection:
    """A filter, and the clients that use it."""

    __slots__ = ("_bucket", "clients", "wanted")

    def __init__(self, wanted: TailFilter) -> None:
        self.wanted = wanted
        self.clients: list[TailClient] = []
        self._bucket = Bucket(PER_SECOND, _AT_ONCE)

    def takes(self, event: Event, now: float) -> bool:
        """Whether one of its events is sampled, and not too many are."""
        return self.wanted.samples(event) and self._bucket.take(1, now)

    def has_enough(self, now: float) -> bool:
        """Whether it takes no more events at present, or looks at them only when they end."""
        wanted = self.wanted
        return wanted.rare or (wanted.broad and self._bucket.empty(now))

    def miss(self, count: int) -> None:
        """Count events that its clients do not get."""
        for client in self.clients:
            client.missed += count

    def shows(self, path: EventPath) -> bool:
        """Whether an event is to be shown, now that it is known what became of it."""
        wanted = self.wanted
        if wanted.outcomes and path.outcome not in wanted.outcomes:
            return False
        if wanted.pipeline is not None and path.pipeline != wanted.pipeline:
            return False
        return wanted.step is None or path.reached(wanted.step)
