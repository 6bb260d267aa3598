"""Which partitions have been read so far ahead that they must wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

from mess.capture.kafka.partition import Load
from mess.capture.kafka.places import PartitionKey


class Backpressure:
    """Counts, for each assigned partition, what was handed over and is not used yet. One of which more than
    `max_records` or `max_bytes` wait is full.

    `used` and `wake` are called in other threads than the rest.
    """

    def __init__(self) -> None:
        self.max_records, self.max_bytes = 1000, 1 << 20
        # Two counts each, since every thread writes only its own.
        self._given: dict[PartitionKey, list[int]] = {}
        self._used: dict[PartitionKey, list[int]] = {}
        self._room = threading.Event()

    def add(self, keys: Collection[PartitionKey]) -> None:
        """These partitions are assigned."""
        for key in keys:
            self._given[key], self._used[key] = [0, 0], [0, 0]

    def drop(self, keys: Collection[PartitionKey]) -> None:
        """These partitions are not assigned any more."""
        for key in keys:
            self._given.pop(key, None)
            self._used.pop(key, None)

    @property
    def keys(self) -> Collection[PartitionKey]:
        """The assigned partitions."""
        return self._given.keys()

    def __contains__(self, key: PartitionKey) -> bool:
        return key in self._given

    def assignment(self, key: PartitionKey) -> object:
        """An object that changes with each assignment of the partition; None if it is not assigned."""
        return self._given.get(key)

    def given(self, key: PartitionKey, load: Load) -> None:
        """A load has been handed over."""
        _count(self._given[key], load)

    def used(self, key: PartitionKey, load: Load) -> None:
        """A load has been used."""
        if (counts := self._used.get(key)) is not None:
            _count(counts, load)
        self._room.set()

    def wake(self) -> None:
        """Let `wait` look again."""
        self._room.set()

    def is_full(self, key: PartitionKey, share: int = 1) -> bool:
        """Whether more than a `share`th of what is allowed waits."""
        given, used = self._given[key], self._used[key]
        return given[0] - used[0] > self.max_records // share or given[1] - used[1] > self.max_bytes // share

    def full(self, but: Collection[PartitionKey]) -> Sequence[PartitionKey]:
        """The partitions that are full, without some."""
        return [key for key in self._given if key not in but and self.is_full(key)]

    def wait(self, seconds: float, but: Collection[PartitionKey]) -> Sequence[PartitionKey]:
        """Wait until no partition is full; returns those that still are after these `seconds`."""
        deadline = time.monotonic() + seconds
        while full := self.full(but):
            if (left := deadline - time.monotonic()) <= 0:
                break
            self._room.clear()
            if full := self.full(but):
                self._room.wait(left)
        return full


def _count(counts: list[int], load: Load) -> None:
    counts[0] += len(load.records)
    counts[1] += load.size
