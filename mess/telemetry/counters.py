"""Counters, timings and the status of a stream: plain objects that are cheap to update.

A count takes 0.09 to 0.15 µs and an observation 0.22 µs, with prometheus_client's own children, bound in advance, 0.55
and 1.1 µs: 2 µs of the 97 that a request takes. Those also write a `_created` series for each of theirs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

Count = Callable[[int], None]
"""Adds a number to a counter."""


class Metric(NamedTuple):
    """A metric. Prometheus appends `_total` to the name of a counter."""

    name: str
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The current state of a stream.

    `problem` is why it is not connected. `lag` and `checkpoint_age` are in seconds, None while unknown. `headroom` is
    how many seconds its position is ahead of the oplog's oldest entry, None while unknown. `window_events` and
    `window_bytes` (of BSON) are its events in flight. `stopped` is whether its history is lost.
    """

    name: str
    connected: bool
    problem: str | None
    lag: float | None
    window_events: int
    window_bytes: int
    checkpoint_age: float | None
    headroom: float | None = None
    stopped: bool = False


class StepCounts(NamedTuple):
    """What a step has done since the start: events, by what became of them, and its calls with the seconds that they
    took together. `bypassed` events were not for it, and `failed` counts those in failed attempts."""

    delivered: int
    dropped: int
    bypassed: int
    failed: int
    retried: int
    dead_letters: int
    attempts: int
    seconds: float


class Gauge(NamedTuple):
    """A metric of each stream, and how to get it from the stream's status; None while it is unknown."""

    name: str
    text: str
    value: Callable[[StreamStatus], float | None]


class Counter:
    """A number that only grows. It has no lock, unlike prometheus_client's: only one thread counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, count: int) -> None:
        """Add `count`."""
        self.value += count


class Timing:
    """A histogram of durations; `counts` has one more entry than `BOUNDS`."""

    __slots__ = ("counts", "sum")

    BOUNDS: ClassVar = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
    """The buckets' upper bounds in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Record a duration."""
        self.counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds
