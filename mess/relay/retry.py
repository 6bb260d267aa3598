"""What a failure means for an event: the policy, apart from the pipeline that carries it out."""

from __future__ import annotations

import random
from enum import Enum

from mess.config.model import Retry
from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused

MAX_RETRY_AFTER = 300.0
"""Seconds: a sink that asks for a longer pause is tried again after this one."""


class Verdict(Enum):
    """What becomes of an event that a step failed on."""

    RETRY = "retry"
    """Try the same step again, after a pause, for as long as it takes."""
    GIVE_UP = "give up"
    """`on_failure` decides."""


def classify(error: Exception) -> DeliveryError:
    """The failure as the pipeline understands it: what is no DeliveryError is the event's fault."""
    if isinstance(error, (EndpointDown, Ambiguous, Refused)):
        return error
    refused = Refused(f"{type(error).__name__}: {error}")
    refused.__cause__ = error
    return refused


def judge(error: DeliveryError, retry: Retry, attempts: int) -> Verdict:
    """What becomes of an event after `attempts` that count, see `Retry.max_attempts`: an outage never costs one."""
    if isinstance(error, Refused):
        return Verdict.GIVE_UP
    exhausted = retry.max_attempts is not None and attempts >= retry.max_attempts
    return Verdict.GIVE_UP if isinstance(error, Ambiguous) and exhausted else Verdict.RETRY


def pause(retry: Retry, attempt: int, error: DeliveryError) -> float:
    """Seconds to wait after the `attempt`-th failure (counted from 1): exponential, capped, with jitter downwards."""
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        return min(error.retry_after, MAX_RETRY_AFTER)
    # Beyond the 64th attempt the power may overflow, and the cap holds long before.
    longest = min(retry.cap, retry.first * retry.multiplier ** min(attempt - 1, 64))
    return longest * random.uniform(0.5, 1.0)
