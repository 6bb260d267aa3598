"""The retry policy: what a failure means for the events that failed, separate from the pipeline that carries it out.

Every function here is pure, and the whole table is tested in tests/unit/relay/test_retry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mess.config.model import Probe, Retry
from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused
from mess.options.backoff import backoff
from mess.telemetry.redact import redact, shown

_LONGEST_REASON = 16 * 1024  # bytes

_SPLIT_AT = 2
"""After how many counted failures an ambiguously failing batch is split."""
_SPLIT_ALONE_AFTER = 60.0
"""After how many seconds of failures a batch is split although no other event has shown that the sink works. Halves
start without counted attempts, so this costs no event; without it, one event could hold up those in its batch until the
next change."""
_MOST_IF_BOUNDED = 10
"""How many attempts an event gets in a delivery that has an end, if the config sets no limit."""


class Verdict(Enum):
    """What happens to events that failed together in a step."""

    HOLD = "hold"
    """The sink is down: its events wait, and one event at a time probes whether it is back."""
    ROTATE = "rotate"
    """The sink is down, but these events have had their turn or may be the cause: others probe it while these wait for
    their next attempt."""
    RETRY = "retry"
    """These events are retried after a pause; events with other keys continue meanwhile."""
    SPLIT = "split"
    """Some of them may be the cause: each half is tried separately."""
    GIVE_UP = "give up"
    """This event is the cause: `on_failure` decides."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when events have failed together.

    `several`: there is more than one. `counted`: how many of their attempts count, including this one; `counted_age`:
    how many seconds ago the first of those failed. `failing_for`: how many seconds ago their first attempt failed;
    `age`: how many seconds ago the first one failed that was not just part of an outage. `probing`: they probed the
    sink. `witness`: it has accepted other events since their previous attempt; `witnessed`: since their first.
    `may_be_cause`: one of them may be the cause of the failure. `outage`: too many different events fail like this.
    `suspect`: the sink has failed on several different events in a row; `refusing`: it has refused so many that it, and
    not they, must be wrong.
    """

    several: bool = False
    counted: int = 1
    counted_age: float = 0.0
    age: float = 0.0
    failing_for: float = 0.0
    probing: bool = False
    witness: bool = False
    witnessed: bool = False
    may_be_cause: bool = False
    outage: bool = False
    suspect: bool = False
    refusing: bool = False


def classify(error: Exception, unexpected: type[Ambiguous] | type[Refused] = Refused) -> DeliveryError:
    """The failure as the pipeline sees it; an exception that is not a DeliveryError becomes an `unexpected` one. Its
    texts contain no secrets."""
    if isinstance(error, (EndpointDown, Ambiguous, Refused)):
        return _redacted(error)
    found = unexpected(f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return _redacted(found)


def _redacted(error: DeliveryError) -> DeliveryError:
    """The same error without secrets in its texts, which go into the log, the status and dead letters."""
    if not error.redacted:
        error.redacted = True
        error.args = (shown(str(error), _LONGEST_REASON),)
        if error.response is not None:
            error.response = replace(error.response, body=redact(error.response.body))
    return error


def judge(error: DeliveryError, facts: Facts, retry: Retry) -> Verdict:
    """What happens to events that failed with `error`.

    An outage never costs an event: without a witness, only a refusal and `max_age` end its attempts. Events whose probe
    failed make room for others, which the sink may accept.
    """
    last = Verdict.SPLIT if facts.several else Verdict.GIVE_UP
    hold = Verdict.ROTATE if facts.probing else Verdict.HOLD
    if isinstance(error, Refused):
        return hold if facts.refusing and not facts.several and not error.local else last
    one_may_be_cause = facts.several and (facts.may_be_cause or isinstance(error, Ambiguous))
    if one_may_be_cause and facts.failing_for >= _SPLIT_ALONE_AFTER:
        return last
    expired = retry.max_age is not None and facts.age >= retry.max_age
    used_up = retry.max_attempts is not None and facts.counted >= retry.max_attempts
    if isinstance(error, Ambiguous):
        if expired or (facts.counted >= _SPLIT_AT if facts.several else used_up):
            return last
        return hold if facts.suspect else Verdict.RETRY
    if expired and facts.witness:
        return last
    if facts.outage and not (facts.may_be_cause and facts.witness):
        return hold
    if not facts.witnessed:
        return Verdict.ROTATE if facts.may_be_cause else hold
    counts = facts.may_be_cause and facts.witness and not facts.outage
    if counts and (facts.several or (used_up and facts.counted_age >= retry.min_age)):
        return last
    # A sink that accepts other events is not down.
    return Verdict.RETRY


def bounded(verdict: Verdict, retry: Retry, *, attempts: int, several: bool, asked: bool = False) -> Verdict:
    """The verdict for a delivery that has an end, on events that have had this many `attempts`; `asked` is whether the
    sink asked to wait.

    Such a delivery waits for no sink and has few other events to be witnesses, so that every attempt counts.
    """
    if verdict not in (Verdict.RETRY, Verdict.ROTATE):
        return verdict
    if asked:
        return Verdict.HOLD
    if several:
        return Verdict.SPLIT if attempts >= _SPLIT_AT else Verdict.RETRY
    return Verdict.GIVE_UP if attempts >= (retry.max_attempts or _MOST_IF_BOUNDED) else Verdict.RETRY


def asked_for(probe: Probe, error: DeliveryError) -> float:
    """How many seconds the sink asked to wait, up to the configured limit."""
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        return min(error.retry_after, probe.max_retry_after)
    return 0.0


def pause(retry: Retry, attempt: int) -> float:
    """Seconds from attempt number `attempt` (counted from 1) until the next one."""
    return backoff(attempt, first=retry.first, multiplier=retry.multiplier, cap=retry.cap)


def probe_pause(probe: Probe, outage: float, error: DeliveryError) -> float:
    """Seconds until the next probe of a sink that has been down for `outage` seconds: a share of that, or what the sink
    asked for."""
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        return max(probe.first, asked_for(probe, error))
    return min(probe.cap, max(probe.first, probe.share * outage))
