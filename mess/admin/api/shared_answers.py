"""Answers that clients share: however many ask, making them takes a small part of the relay's time."""

from __future__ import annotations

import time

from mess.admin.api.access import Grant

_SHARE = 10.0
"""An answer is shared for so many times as long as it took to make."""


class SharedAnswers:
    """The last answers, by operation and by what the client may know."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Grant], tuple[float, bytes]] = {}

    def get(self, path: str, grant: Grant) -> bytes | None:
        """An answer that may still be given; None if there is none."""
        until, body = self._known.get((path, grant), (0.0, b""))
        return body if time.monotonic() < until else None

    def keep(self, path: str, grant: Grant, body: bytes, *, seconds: float) -> None:
        """Keep an answer that took so many seconds to make."""
        self._known[path, grant] = time.monotonic() + _SHARE * seconds, body

    def clear(self) -> None:
        """Something has been changed: answers are made anew."""
        self._known.clear()
