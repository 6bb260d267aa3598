"""Where documents that are read at a cluster time belong in a change stream. Pure: it never connects to MongoDB.

A read at cluster time T contains every change up to T, and none after it. A change stream delivers changes in the
order of their cluster times. So the documents belong where every change up to T is before them, and every later one
behind them. This is proved only between two changes of which the second is *strictly* later, or behind a token that is
strictly later than the last change: changes of one transaction share their cluster time, and a token may already have
the time of changes that are still outstanding.
"""

from __future__ import annotations

from typing import NamedTuple

from bson import Timestamp

from mess.capture.source import Batch
from mess.event import Event


class Split(NamedTuple):
    """A place in a batch: before the event with the index `before`; documents that are read at `at` belong there."""

    before: int
    at: Timestamp


class Places:
    """Follows a change stream, batch by batch, and finds places in it. `since` is the cluster time where it begins."""

    def __init__(self, since: Timestamp | None) -> None:
        self._last = since
        self._token: Timestamp | None = None

    @property
    def here(self) -> Timestamp | None:
        """The cluster time at which documents that belong here, behind all batches that have passed, are to be read;
        None if this is no place."""
        if self._last is None or self._token is None or self._token <= self._last:
            return None
        return _before(self._token)

    def split(self, batch: Batch) -> Split | None:
        """The first place in the next batch that has an event behind it; None if there is none."""
        last = self._last
        if last is None or batch.unreadable or batch.lost:  # where those are in the batch is not known
            return None
        for index, event in enumerate(batch.events):
            time = _time(event)
            if time is None:
                return None
            if time > last:
                return Split(index, _before(time))
        return None

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
