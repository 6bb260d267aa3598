"""Where documents that are read at a cluster time belong in a change stream. Pure: it never connects to MongoDB.

A read at cluster time T contains every change up to T, and none after it. A change stream delivers changes in the
order of their cluster times. So the documents belong where every change up to T is before them, and every later one
behind them. That a place is this one is proved only by what is *strictly* later than T, a change or a token: changes of
one transaction share their cluster time, and a token may already have the time of changes that are still outstanding.
"""

from __future__ import annotations

from bson import Timestamp

from mess.capture.source import Batch
from mess.event import Event


class Places:
    """Follows a change stream, batch by batch, and finds places in it. `since` is the cluster time where it begins."""

    def __init__(self, since: Timestamp | None) -> None:
        self._last = since
        self._token: Timestamp | None = None

    @property
    def next(self) -> Timestamp | None:
        """The cluster time at which documents are to be read now: they belong here, or soon behind. None if no time is
        known."""
        if self._last is None or self._token is None or self._token <= self._last:
            return self._last
        return _before(self._token)

    def is_here(self, at: Timestamp) -> bool:
        """Whether it is proved that documents read at `at` belong here, if no later change has passed."""
        return self._token is not None and self._token > at

    def later(self, batch: Batch, at: Timestamp) -> int | None:
        """The index of the first event of the next batch that is later than `at`, or how many events there are; None
        if unknown."""
        if batch.unreadable or batch.lost:  # where those are in the batch is not known
            return None
        for index, event in enumerate(batch.events):
            time = _time(event)
            if time is None:
                return None
            if time > at:
                return index
        return len(batch.events)

    def passed(self, batch: Batch) -> None:
        """Move behind a batch, or a part of one."""
        position = batch.position.time
        latest = _time(batch.events[-1]) if batch.events else None
        if batch.unreadable or batch.lost:
            latest = position
        if latest is not None and (self._last is None or latest > self._last):
            self._last = latest
        # A position without a token was not read: the stream is only to begin there.
        self._token = None if batch.position.token is None else position


def _time(event: Event) -> Timestamp | None:
    time = event.change.get("clusterTime")
    return time if isinstance(time, Timestamp) else None


def _before(time: Timestamp) -> Timestamp:
    """The tick before a cluster time."""
    return Timestamp(time.time, time.inc - 1) if time.inc else Timestamp(time.time - 1, 2**32 - 1)
