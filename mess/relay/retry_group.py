"""Events that failed together, and the history of their attempts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from mess.errors import DeliveryError, EndpointDown
from mess.event import Event
from mess.relay.breaker import CircuitBreaker
from mess.relay.evidence import Kind
from mess.state.records import HISTORY, Attempt


@dataclass(slots=True, eq=False)
class RetryGroup:
    """Events that failed together in a step, and that are retried together.

    `breaker` belongs to their destination, which is called `destination` if the step has several. `position` is the
    step's in its pipeline. `attempts` counts all attempts, `counted` those that count towards `max_attempts`.
    `accepted` is how many events the destination had accepted by the last attempt, `witness` whether it accepted others
    between the last two attempts, and `witnessed` whether it has since the first.

    These times are in seconds of `time.monotonic`: `failing_since` is when the first attempt failed, `since` when the
    first one failed that was not just part of an outage, `counted_since` when the first counted one failed (infinite
    before that), and `due` is when the next attempt is due. While `waiting`, the breaker decides that instead, and says
    whether the group is `probing`. `named` is whether the log has named the events.
    """

    events: list[Event]
    error: DeliveryError
    breaker: CircuitBreaker
    destination: str | None = None
    failing_since: float = 0.0
    since: float = inf
    counted_since: float = inf
    position: int = 0
    attempts: int = 0
    counted: int = 0
    accepted: int = 0
    witness: bool = False
    witnessed: bool = False
    due: float = 0.0
    waiting: bool = False
    probing: bool = False
    named: bool = False
    history: deque[Attempt] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def halves(self) -> list[RetryGroup]:
        """The group in two halves, to be tried immediately, without any counted attempts."""
        middle = (len(self.events) + 1) // 2
        return [
            replace(
                self,
                events=events,
                counted=0,
                counted_since=inf,
                due=0.0,
                waiting=False,
                probing=False,
                named=False,
                history=self.history.copy(),
            )
            for events in (self.events[:middle], self.events[middle:])
        ]

    def over(self) -> None:
        """Its events have been accepted or given up, or now belong to other groups."""
        self.breaker.evidence.forget(self)


def joined(groups: Sequence[RetryGroup]) -> RetryGroup:
    """Groups as one, with the longest history among them; they are over then."""
    if len(groups) == 1:
        return groups[0]
    longest = max(groups, key=lambda group: group.attempts)
    whole = replace(longest, events=[event for group in groups for event in group.events])
    for group in groups:
        group.over()
    whole.breaker.evidence.fail(whole, Kind.of(whole.error), first=False)
    return whole


def note(
    known: RetryGroup | None,
    error: DeliveryError,
    events: list[Event],
    breaker: CircuitBreaker,
    destination: str | None = None,
) -> RetryGroup:
    """The group of events that have just failed; `known` is their previous group, which is over, if they had failed
    before.

    An ambiguous failure counts if it is the first, or if the destination has accepted other events since the previous
    attempt. A failure that means that the sink is down counts only if the event may be the cause, other events have
    been accepted since the previous attempt, and only few events fail like this.
    """
    now = time.monotonic()
    kind, evidence = Kind.of(error), breaker.evidence
    if known is None:
        group, witness = (
            RetryGroup(events=events, error=error, breaker=breaker, destination=destination, failing_since=now),
            False,
        )
    else:
        known.over()
        witness = known.breaker is breaker and evidence.accepted > known.accepted
        group = replace(
            known,
            events=events,
            error=error,
            breaker=breaker,
            destination=destination,
            witness=witness,
            witnessed=known.witnessed or witness,
            waiting=False,
            probing=False,
            history=known.history.copy(),
        )
    evidence.fail(group, kind, first=known is None)
    if kind is Kind.AMBIGUOUS:
        counts = known is None or witness
    else:
        counts = kind is Kind.SUSPECT and witness and not evidence.outage(kind)
    if counts:
        group.counted += 1
        group.counted_since = min(group.counted_since, now)
    if witness or not isinstance(error, EndpointDown):
        group.since = min(group.since, now)
    group.attempts += 1
    group.accepted = evidence.accepted
    group.history.append(Attempt.failed(error))
    return group
