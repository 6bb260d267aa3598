"""Limits what live tails may cost, in events and in time."""

from __future__ import annotations

import time

_BUSY = 0.6  # of the thread's time
_LOOK_AGAIN = 0.5  # seconds
_SAVED = 0.2  # seconds whose share may be used later


class Bucket:
    """Lets `rate` events a second pass, evenly, and up to `burst` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = 0.0

    def take(self, count: int, now: float) -> bool:
        """Whether `count` more may pass `now` (`time.monotonic`)."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class TimeShare:
    """The share of its time that a thread may spend on something: `busy` while it has much to do, else `idle`."""

    def __init__(self, *, busy: float, idle: float) -> None:
        self._busy = busy
        self._idle = self._share = idle
        self._left = 0.0
        self._at = self._looked = time.monotonic()
        self._used = time.thread_time()

    @property
    def left(self) -> float:
        """The seconds that may be spent now; not positive if there are none."""
        now = time.monotonic()
        if (passed := now - self._looked) >= _LOOK_AGAIN:
            used = time.thread_time()
            self._share = self._busy if used - self._used > _BUSY * passed else self._idle
            self._looked, self._used = now, used
        self._left = min(self._share * _SAVED, self._left + (now - self._at) * self._share)
        self._at = now
        return self._left

    def spend(self, seconds: float) -> None:
        """Count the time that was spent."""
        self._left -= seconds
