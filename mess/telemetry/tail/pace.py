"""Limits what live tails may cost, in events and in time."""

from __future__ import annotations

import time

_MANY = 1000  # events a second
_BUSY = 0.6  # of the thread's time
_LOOK_AGAIN = 0.5  # seconds
_SAVED = 0.2  # seconds whose share may be used later


class Bucket:
    """Lets `rate` events a second pass, `burst` of them at once: while the events of a burst are on their way, and
    there is nothing to follow otherwise, following costs nothing."""

    __slots__ = ("_burst", "_left", "_next", "_pause")

    def __init__(self, rate: float, burst: int) -> None:
        self._burst = self._left = burst
        self._pause = burst / rate
        self._next = 0.0

    def take(self, count: int, now: float) -> bool:
        """Whether `count` more may pass `now` (`time.monotonic`)."""
        if now >= self._next:
            self._left, self._next = self._burst, now + self._pause
        if self._left < count:
            return False
        self._left -= count
        return True

    def empty(self, now: float) -> bool:
        """Whether nothing more may pass `now`."""
        return self._left <= 0 and now < self._next


class Load:
    """Whether the relay has much to do: many events a second, or work for most of its thread's time."""

    def __init__(self) -> None:
        self.busy = False
        self._events = 0
        self._at = time.monotonic()
        self._used = time.thread_time()

    def add(self, events: int, now: float) -> None:
        """Count events that have been read."""
        self._events += events
        if (passed := now - self._at) >= _LOOK_AGAIN:
            used = time.thread_time()
            self.busy = self._events > _MANY * passed or used - self._used > _BUSY * passed
            self._at, self._used, self._events = now, used, 0


class TimeShare:
    """The share of its time that a thread may spend on something: `busy` while it has much to do, else `idle`."""

    def __init__(self, load: Load, *, busy: float, idle: float) -> None:
        self._load = load
        self._busy = busy
        self._idle = idle
        self._left = 0.0
        self._at = time.monotonic()

    def left(self, now: float) -> float:
        """The seconds that may be spent `now`; not positive if there are none."""
        share = self._busy if self._load.busy else self._idle
        self._left = min(share * _SAVED, self._left + (now - self._at) * share)
        self._at = now
        return self._left

    def spend(self, seconds: float) -> None:
        """Count the time that was spent."""
        self._left -= seconds
