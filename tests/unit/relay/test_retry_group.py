"""What is known of events that have failed: which of their attempts count."""

from __future__ import annotations

from math import inf

from mess.config.model import Probe
from mess.errors import Ambiguous, EndpointDown
from mess.relay.breaker import CircuitBreaker
from mess.relay.retry_group import RetryGroup, note
from mess.relay.stopping import Stopping
from tests.unit.fakes import make_events

DOWN, MAYBE = EndpointDown("answered 503"), Ambiguous("answered 500")
FORBIDDEN = EndpointDown("answered 403", event_may_be_cause=True)
ASKS = EndpointDown("answered 502", retry_after=0.0, event_may_be_cause=True)


def breaker(suspect_after: int = 10) -> CircuitBreaker:
    return CircuitBreaker(Probe(suspect_after=suspect_after), Stopping())


def failed(
    found: CircuitBreaker, known: RetryGroup | None, error: EndpointDown | Ambiguous, accepted: int
) -> RetryGroup:
    """A further attempt, after the sink has accepted so many other events."""
    if accepted:
        found.evidence.accept(accepted)
    return note(known, error, make_events(1), found)


def test_what_the_event_cannot_cause_never_counts_whoever_else_gets_through() -> None:
    for error in (DOWN, ASKS):
        sink = breaker()
        group = failed(sink, None, error, 0)
        for _ in range(20):
            group = failed(sink, group, error, 1)
        assert (group.attempts, group.counted) == (21, 0)
        assert failed(sink, group, MAYBE, 1).counted == 1


def test_an_ambiguous_attempt_counts_when_it_is_the_first_or_another_event_was_accepted_since() -> None:
    sink = breaker()
    group = failed(sink, None, MAYBE, 7)
    assert group.counted == 1
    group = failed(sink, group, MAYBE, 0)
    assert group.counted == 1
    assert failed(sink, group, MAYBE, 1).counted == 2


def test_what_the_event_may_cause_counts_only_with_a_witness_since_the_attempt_before() -> None:
    sink = breaker()
    group = failed(sink, None, FORBIDDEN, 5)
    assert (group.counted, group.witnessed) == (0, False)
    group = failed(sink, group, FORBIDDEN, 0)
    assert (group.counted, group.witnessed) == (0, False)
    group = failed(sink, group, FORBIDDEN, 1)
    assert (group.counted, group.witnessed) == (1, True)
    group = failed(sink, group, FORBIDDEN, 0)
    assert (group.counted, group.witnessed) == (1, True)


def test_it_does_not_count_while_as_many_different_events_fail_like_this_as_make_an_outage() -> None:
    sink = breaker(suspect_after=3)
    groups = [failed(sink, None, FORBIDDEN, 0) for _ in range(3)]
    assert failed(sink, groups[0], FORBIDDEN, 1).counted == 0
    groups[1].over()  # it has been delivered
    again = failed(sink, None, FORBIDDEN, 0)
    again.over()
    assert failed(sink, groups[2], FORBIDDEN, 1).counted == 1


def test_events_that_fail_for_a_reason_of_the_sinks_are_no_company() -> None:
    sink = breaker(suspect_after=3)
    for _ in range(9):
        failed(sink, None, DOWN, 0)
    group = failed(sink, None, FORBIDDEN, 0)
    assert failed(sink, group, FORBIDDEN, 1).counted == 1


def test_halves_start_without_attempts_that_count() -> None:
    sink = breaker()
    group = note(None, FORBIDDEN, make_events(5), sink)
    sink.evidence.accept(1)
    group = note(group, FORBIDDEN, make_events(5), sink)
    assert group.counted == 1
    group.over()
    assert [(len(half.events), half.counted, half.counted_since) for half in group.halves()] == [
        (3, 0, inf),
        (2, 0, inf),
    ]


def test_the_age_of_a_failure_leaves_out_the_outage_before_it() -> None:
    sink = breaker()
    outage = failed(sink, failed(sink, None, DOWN, 0), DOWN, 0)
    assert outage.since == inf
    assert failed(sink, outage, MAYBE, 0).since < inf
    its_own = failed(sink, outage, DOWN, 1)
    assert its_own.since < inf
    assert failed(sink, its_own, DOWN, 0).since == its_own.since
