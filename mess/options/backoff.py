"""Pauses between attempts."""

from __future__ import annotations

import random


def backoff(attempt: int, *, first: float, multiplier: float, cap: float) -> float:
    """Seconds to wait after attempt number `attempt` (counted from 1): `first`, then `multiplier` times as long each
    time, up to `cap`.

    Jitter reduces the result to between half and all of it.
    """
    # The power may overflow for later attempts; `cap` applies long before.
    return min(cap, first * multiplier ** min(attempt - 1, 64)) * random.uniform(0.5, 1.0)
