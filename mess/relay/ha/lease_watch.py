"""How long a lease allows to deliver, and when a standby may take it. Pure."""

from __future__ import annotations

import math

from mess.state.ha_lease import LeaseRecord
from mess.state.instance import Instance
from mess.state.lease import ALIVE_SECONDS

UNOBSERVED = 1 / 3
"""The part of a lease for which nobody may look: after a longer time, the holder is given a whole lease again. Maybe it
could not reach the state either."""


def patience(seconds: float) -> float:
    """How long to wait for an answer about a lease of so many seconds. With a pause, two attempts follow each other
    within a third of the lease."""
    return seconds / 4


def margin(seconds: float) -> float:
    """How many seconds before the end of its lease a process stops delivering.

    A standby counts the lease from later than the active process does: it must have read what the other has sent. So
    the margin only has to cover clocks that run at different speeds (a few seconds per hour, for bad ones), and the
    time between the check of the deadline and the moment at which a request leaves.
    """
    return max(0.1 * seconds, 0.2)


class LeaseWatch:
    """Watches the lease's record for changes, in the time of one monotonic clock. The clocks of others do not matter.

    The holder ends its deliveries in time before `seconds`, or the number that it has announced itself, have passed
    since it *sent* a renewal. This process saw the renewal later than that.
    """

    def __init__(self, instance: Instance, seconds: float) -> None:
        self._instance = instance
        self._seconds = seconds
        self._seen: object = None
        self._announced = seconds
        self._since = self._looked = -math.inf

    def silence(self, now: float) -> float:
        """For how many seconds the record has been seen unchanged."""
        return now - self._since

    def free(self, record: LeaseRecord | None, now: float, *, erased: bool = False) -> str | None:
        """Why the lease may be taken, given a record that was read just before `now`; None if it may not. For `erased`
        see `HaLease`."""
        sign = None if record is None else record.sign_of_life
        if sign != self._seen or now - self._looked > self._seconds * UNOBSERVED:
            self._seen, self._since = sign, now
        self._looked = now
        if record is None:
            if not erased:
                return "it was free"
            return "its record was deleted, and no process wrote it again" if self._silent(now) else None
        if record.has_ended(self._instance):
            return "its process has ended"
        self._announced = ALIVE_SECONDS if record.lease is None else record.lease
        return "no sign of life" if record.ended is None and self._silent(now) else None

    def _silent(self, now: float) -> bool:
        return self.silence(now) >= max(self._seconds, self._announced)
