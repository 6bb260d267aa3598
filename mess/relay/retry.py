"""What a failure means for the events it struck: the policy, apart from the pipeline that carries it out.

Every function here is pure, and the whole table is tested in tests/unit/relay/test_retry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mess.backoff import backoff
from mess.config.model import Probe, Retry
from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused
from mess.telemetry.redact import redact, shown

_LONGEST_REASON = 16 * 1024  # bytes


class Verdict(Enum):
    """What becomes of events that a step failed on together."""

    HOLD = "hold"
    """The sink is the trouble: every lane waits, and one at a time tries whether it is back."""
    PARK = "park"
    """These events are tried again after a pause; those with other keys go on meanwhile."""
    SPLIT = "split"
    """Some of them may be the trouble: each half is tried by itself."""
    GIVE_UP = "give up"
    """This event is the trouble: `on_failure` decides."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when events have failed together.

    `several` tells that they are more than one. `counted` is how many of their attempts count, this one included, and
    `age` how many seconds ago the first one failed. `witness` tells that the sink has accepted other events since their
    previous attempt. `suspect` tells that the sink has failed on several different events in a row, `refusing` that it
    has refused so many that it, and not they, must be wrong.
    """

    several: bool = False
    counted: int = 1
    age: float = 0.0
    witness: bool = False
    suspect: bool = False
    refusing: bool = False


def classify(error: Exception, unexpected: type[Ambiguous] | type[Refused] = Refused) -> DeliveryError:
    """The failure as the pipeline understands it; an exception that is no DeliveryError becomes an `unexpected` one.
    Its texts hold no secrets."""
    if isinstance(error, (EndpointDown, Ambiguous, Refused)):
        return _redacted(error)
    found = unexpected(f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return _redacted(found)


def _redacted(error: DeliveryError) -> DeliveryError:
    """The same error, whose texts go into the log, the status and dead letters from here on, without secrets."""
    if not error.redacted:
        error.redacted = True
        error.args = (shown(str(error), _LONGEST_REASON),)
        if error.response is not None:
            error.response = replace(error.response, body=redact(error.response.body))
    return error


def judge(error: DeliveryError, facts: Facts, retry: Retry) -> Verdict:
    """What becomes of events that failed with `error`.

    An outage never costs an event: without a witness, only a refusal and `max_age` end its attempts.
    """
    last = Verdict.SPLIT if facts.several else Verdict.GIVE_UP
    if isinstance(error, Refused):
        return Verdict.HOLD if facts.refusing and not facts.several else last
    expired = retry.max_age is not None and facts.age >= retry.max_age
    if isinstance(error, Ambiguous):
        if expired or (retry.max_attempts is not None and facts.counted >= retry.max_attempts):
            return last
        return Verdict.HOLD if facts.suspect else Verdict.PARK
    # A sink that takes other events is not down; this answer is about these, however it sounds.
    if not facts.witness:
        return Verdict.HOLD
    return last if expired else Verdict.PARK


def asked_for(probe: Probe, error: DeliveryError) -> float:
    """Seconds that the sink asked to be left alone, as far as it is listened to."""
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        return min(error.retry_after, probe.max_retry_after)
    return 0.0


def pause(retry: Retry, attempt: int) -> float:
    """Seconds until the next attempt after the `attempt`-th (counted from 1)."""
    return backoff(attempt, first=retry.first, multiplier=retry.multiplier, cap=retry.cap)


def probe_pause(probe: Probe, outage: float, error: DeliveryError) -> float:
    """Seconds until the next probe of a sink that has been down for `outage` seconds: a share of that, or what the sink
    asked for."""
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        return max(probe.first, asked_for(probe, error))
    return min(probe.cap, max(probe.first, probe.share * outage))
