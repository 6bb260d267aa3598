"""How many documents a chunk of a backfill has."""

from __future__ import annotations

MOST = 500
"""The largest number of documents in a chunk."""
_LEAST = 10
"""The number of documents with which to begin. So few take as long as the sinks need for anything."""
_TIMELY = 0.005
"""How many seconds longer than those a chunk may take until it is delivered, or as long again if that is more, since
the changes behind it may wait as long: otherwise fewer documents follow."""
_GROWTH = 4
"""How many times as many documents as its predecessor a chunk may have."""


class ChunkSize:
    """The size of the chunks of one backfill: what is timely, and takes at most `max_bytes` bytes of BSON.

    `average` is the documents' average size in bytes, if that is known; `rate` how many of them may be sent a second,
    None for any number. `most` is how many documents the next chunk may have.
    """

    def __init__(self, max_bytes: int, *, average: int | None, rate: float | None) -> None:
        self._max_bytes = max_bytes
        self._limit = MOST if rate is None else max(1, min(MOST, int(rate)))
        self._timely = _LEAST
        self._least_took = 0.0  # seconds
        self.most = max(1, min(self._limit, _LEAST, max_bytes // (average or 1)))

    def was_read(self, count: int, size: int) -> None:
        """A chunk had `count` documents of `size` bytes."""
        if count:
            average = max(1, size // count)
            self.most = max(1, min(self._limit, self._timely, _GROWTH * self.most, self._max_bytes // average))

    def was_too_large(self) -> None:
        """A chunk could not be read because it would have been too large, or have taken MongoDB too long."""
        self.most = max(1, self.most // 4)

    def was_delivered(self, count: int, seconds: float) -> None:
        """It took so many seconds to read and deliver a chunk of `count` documents."""
        if count:
            self._least_took = min(self._least_took, seconds) if count > _LEAST else seconds
            allowed = max(self._least_took, _TIMELY)
            longer = max(seconds - self._least_took, allowed / _GROWTH)
            self._timely = max(_LEAST, min(MOST, int(count * max(0.5, allowed / longer))))
