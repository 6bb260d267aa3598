"""What keeps a step from making progress."""

from __future__ import annotations

from dataclasses import dataclass

from mess.errors import DeliveryError


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a step from making progress, in a few words, and what is known about it.

    `since` is when it began and `next_attempt` when the next attempt is due, both in seconds of `time.monotonic`; None
    if that is unknown. `error` is the failure behind it, if there is one. `brief` is the cause without what the sink or
    a function said, if it has any of that.
    """

    cause: str
    since: float | None = None
    next_attempt: float | None = None
    error: DeliveryError | None = None
    brief: str | None = None
