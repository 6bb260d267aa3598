"""What is known of events that have failed."""

from __future__ import annotations

from math import inf

from mess.errors import Ambiguous, EndpointDown
from mess.relay.group import note
from tests.unit.fakes import make_events

DOWN, MAYBE = EndpointDown("answered 503"), Ambiguous("answered 500")


def test_an_attempt_while_the_sink_is_down_does_not_count_whoever_else_gets_through() -> None:
    events = make_events(1)
    group = note(None, DOWN, events, 0)
    for accepted in range(20):
        group = note(group, DOWN, events, accepted)
    assert (group.attempts, group.counted) == (21, 0)
    assert note(group, MAYBE, events, 30).counted == 1


def test_an_ambiguous_attempt_counts_when_it_is_the_first_or_another_event_was_accepted_since() -> None:
    events = make_events(1)
    group = note(None, MAYBE, events, 7)
    assert [note(group, MAYBE, events, accepted).counted for accepted in (7, 8)] == [1, 2]


def test_the_age_of_a_failure_leaves_out_the_outage_before_it() -> None:
    events = make_events(1)
    outage = note(note(None, DOWN, events, 0), DOWN, events, 0)
    assert outage.since == inf
    assert note(outage, MAYBE, events, 0).since < inf
    its_own = note(outage, DOWN, events, 1)
    assert its_own.since < inf
    assert note(its_own, DOWN, events, 1).since == its_own.since
