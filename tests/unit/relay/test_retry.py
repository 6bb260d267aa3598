"""The policy: what a failure means, and how long the pauses are."""

from __future__ import annotations

from itertools import product

import pytest

from mess.config.model import Probe, Retry
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, Refused
from mess.relay.retry import Facts, Verdict, classify, judge, pause, probe_pause

HOLD, PARK, SPLIT, GIVE_UP = Verdict.HOLD, Verdict.PARK, Verdict.SPLIT, Verdict.GIVE_UP

BOUNDED = Retry(max_attempts=3, max_age=60)
FOR_EVER = Retry(max_attempts=None)

# The decision table, row by row: the first row that fits decides. `exhausted` is max_attempts or max_age reached.
TABLE: list[tuple[type[DeliveryError], dict[str, bool], Verdict]] = [
    (Refused, {"several": True}, SPLIT),
    (Refused, {"refusing": True}, HOLD),
    (Refused, {}, GIVE_UP),
    (Ambiguous, {"exhausted": True, "several": True}, SPLIT),
    (Ambiguous, {"exhausted": True}, GIVE_UP),
    (Ambiguous, {"suspect": True}, HOLD),
    (Ambiguous, {}, PARK),
    (EndpointDown, {"witness": False}, HOLD),
    (EndpointDown, {"expired": True, "several": True}, SPLIT),
    (EndpointDown, {"expired": True}, GIVE_UP),
    (EndpointDown, {}, PARK),
]


def expected(error: type[DeliveryError], facts: dict[str, bool]) -> Verdict:
    for kind, conditions, verdict in TABLE:
        if kind is error and all(facts[name] is value for name, value in conditions.items()):
            return verdict
    raise AssertionError("the table has a hole")


@pytest.mark.parametrize("error", [Refused, Ambiguous, EndpointDown])
@pytest.mark.parametrize("retry", [BOUNDED, FOR_EVER])
def test_the_whole_decision_table(error: type[DeliveryError], retry: Retry) -> None:
    booleans = [False, True]
    counts, ages = [1, 2, 3, 1_000_000], [0.0, 59.0, 60.0, 1e9]
    seen: set[Verdict] = set()
    for several, witness, suspect, refusing, counted, age in product(*[booleans] * 4, counts, ages):
        facts = Facts(several, counted, age, witness, suspect, refusing)
        expired = retry is BOUNDED and age >= 60
        told = {
            "several": several,
            "witness": witness,
            "suspect": suspect,
            "refusing": refusing,
            "expired": expired,
            "exhausted": expired or (retry is BOUNDED and counted >= 3),
        }
        verdict = judge(error("x"), facts, retry)
        assert verdict is expected(error, told), facts
        seen.add(verdict)
    assert len(seen) >= 2


@pytest.mark.parametrize("retry", [Retry(), FOR_EVER])
def test_by_default_an_outage_never_costs_an_event_however_long_it_is(retry: Retry) -> None:
    for suspect, several, age in product([False, True], [False, True], [0, 1e9]):
        outage = Facts(several=several, counted=1, age=age, suspect=suspect)
        assert judge(EndpointDown("x"), outage, retry) is HOLD
        assert judge(Ambiguous("x"), outage, retry) in (HOLD, PARK)


def test_what_is_no_delivery_error_is_the_events_fault() -> None:
    assert isinstance(classify(KeyError("x")), Refused)
    assert isinstance(classify(BatchError({})), Refused)
    assert str(classify(KeyError("x"))) == "KeyError: 'x'"
    error = EndpointDown("x")
    assert classify(error) is error


def test_pauses_grow_up_to_the_cap_with_jitter_downwards() -> None:
    retry = Retry(first=1, multiplier=2, cap=10)
    for attempt, longest in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)]:
        for _ in range(20):
            assert longest / 2 <= pause(retry, attempt) <= longest


@pytest.mark.parametrize(("outage", "seconds"), [(0, 0.25), (10, 0.25), (60, 1.2), (1500, 30), (1e6, 30)])
def test_probes_come_after_a_share_of_the_outage(outage: float, seconds: float) -> None:
    assert probe_pause(Probe(), outage, EndpointDown("x")) == pytest.approx(seconds)


def test_retry_after_is_followed_up_to_five_minutes_and_never_at_once() -> None:
    assert probe_pause(Probe(), 0, EndpointDown("x", retry_after=42)) == 42
    assert probe_pause(Probe(), 0, EndpointDown("x", retry_after=0)) == 0.25
    assert probe_pause(Probe(), 0, EndpointDown("x", retry_after=9999)) == 300
    assert probe_pause(Probe(max_retry_after=1), 0, EndpointDown("x", retry_after=9999)) == 1
