"""How long to wait before another attempt."""

from __future__ import annotations

import random


def backoff(attempt: int, *, first: float, multiplier: float, cap: float) -> float:
    """Seconds until the next attempt after the `attempt`-th (counted from 1): `first`, then `multiplier` times as long
    each time, up to `cap`; with jitter downwards, from a half to the whole of it."""
    # The power may overflow later, and the cap holds long before.
    return min(cap, first * multiplier ** min(attempt - 1, 64)) * random.uniform(0.5, 1.0)
