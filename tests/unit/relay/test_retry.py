"""The policy: what a failure means, and how long the pauses are."""

from __future__ import annotations

from itertools import product

import pytest

from mess.config.model import Probe, Retry
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, Refused
from mess.relay.retry import Facts, Verdict, bounded, classify, judge, pause, probe_pause

HOLD, ROTATE, RETRY = Verdict.HOLD, Verdict.ROTATE, Verdict.RETRY
SPLIT, GIVE_UP = Verdict.SPLIT, Verdict.GIVE_UP

BOUNDED = Retry(max_attempts=3, max_age=60, min_age=30)
FOR_EVER = Retry(max_attempts=None)

# The decision table, row by row: the first row that fits decides. `used_up`: max_attempts count; `expired`: max_age is
# over; `old`: min_age is over since the first attempt that counts; `long`: it has failed for a minute.
TABLE: list[tuple[type[DeliveryError], dict[str, bool], Verdict]] = [
    (Refused, {"several": True}, SPLIT),
    (Refused, {"refusing": True, "probing": True}, ROTATE),
    (Refused, {"refusing": True}, HOLD),
    (Refused, {}, GIVE_UP),
    (Ambiguous, {"expired": True, "several": True}, SPLIT),
    (Ambiguous, {"several": True, "two": True}, SPLIT),
    (Ambiguous, {"several": True, "long": True}, SPLIT),
    (Ambiguous, {"several": False, "expired": True}, GIVE_UP),
    (Ambiguous, {"several": False, "used_up": True}, GIVE_UP),
    (Ambiguous, {"suspect": True, "probing": True}, ROTATE),
    (Ambiguous, {"suspect": True}, HOLD),
    (Ambiguous, {}, RETRY),
    (EndpointDown, {"may_be_cause": True, "several": True, "long": True}, SPLIT),
    (EndpointDown, {"witness": True, "expired": True, "several": True}, SPLIT),
    (EndpointDown, {"witness": True, "expired": True}, GIVE_UP),
    (EndpointDown, {"outage": True, "may_be_cause": True, "witness": True}, RETRY),
    (EndpointDown, {"outage": True, "probing": True}, ROTATE),
    (EndpointDown, {"outage": True}, HOLD),
    (EndpointDown, {"witnessed": False, "may_be_cause": True}, ROTATE),
    (EndpointDown, {"witnessed": False, "probing": True}, ROTATE),
    (EndpointDown, {"witnessed": False}, HOLD),
    (EndpointDown, {"may_be_cause": True, "witness": True, "several": True}, SPLIT),
    (EndpointDown, {"may_be_cause": True, "witness": True, "used_up": True, "old": True}, GIVE_UP),
    (EndpointDown, {}, RETRY),
]


def expected(error: type[DeliveryError], facts: dict[str, bool]) -> Verdict:
    for kind, conditions, verdict in TABLE:
        if kind is error and all(facts[name] is value for name, value in conditions.items()):
            return verdict
    raise AssertionError("the table has a hole")


@pytest.mark.parametrize("error", [Refused, Ambiguous, EndpointDown])
@pytest.mark.parametrize("retry", [BOUNDED, FOR_EVER])
def test_the_whole_decision_table(error: type[DeliveryError], retry: Retry) -> None:
    flags = ["several", "witness", "witnessed", "may_be_cause", "outage", "suspect", "refusing", "probing", "long"]
    counts, ages, counted_ages = [1, 2, 3, 1_000_000], [0.0, 59.0, 60.0], [0.0, 29.0, 30.0]
    seen: set[Verdict] = set()
    for *values, counted, age, counted_age in product(*[[False, True]] * len(flags), counts, ages, counted_ages):
        said = dict(zip(flags, values, strict=True))
        if said["witness"] and not said["witnessed"]:
            continue  # one is a witness since the first attempt, too
        failing_for = 60.0 if said["long"] else 59.0
        known = {name: value for name, value in said.items() if name != "long"}
        facts = Facts(counted=counted, age=age, counted_age=counted_age, failing_for=failing_for, **known)
        told = {
            **said,
            "two": counted >= 2,
            "used_up": retry is BOUNDED and counted >= 3,
            "expired": retry is BOUNDED and age >= 60,
            "old": counted_age >= retry.min_age,
        }
        verdict = judge(error("x"), facts, retry)
        assert verdict is expected(error, told), facts
        seen.add(verdict)
    assert len(seen) >= 2


@pytest.mark.parametrize("retry", [Retry(), FOR_EVER])
def test_by_default_an_outage_never_costs_an_event_however_long_it_is(retry: Retry) -> None:
    for suspect, several, age, may_be in product([False, True], [False, True], [0, 1e9], [False, True]):
        outage = Facts(several=several, counted=1, age=age, counted_age=age, suspect=suspect, may_be_cause=may_be)
        assert judge(EndpointDown("x"), outage, retry) is (ROTATE if may_be else HOLD)
        assert judge(Ambiguous("x"), outage, retry) in (HOLD, RETRY)


@pytest.mark.parametrize("retry", [Retry(), Retry(max_attempts=1, min_age=0)])
def test_a_failure_that_no_event_can_cause_never_costs_one_whatever_else_succeeds(retry: Retry) -> None:
    """429, 503, refused connections, anything with Retry-After: a rate limiter may refuse most of them for days."""
    for several, outage in product([False, True], [False, True]):
        facts = Facts(several, 10**6, 1e9, 1e9, witness=True, witnessed=True, may_be_cause=False, outage=outage)
        assert judge(EndpointDown("x"), facts, retry) in (HOLD, RETRY)


def test_an_outage_in_which_some_events_succeed_never_costs_one() -> None:
    """One of two backends is down behind a balancer: as many different events fail as `probe.suspect_after` says."""
    facts = Facts(False, 10**6, 1e9, 1e9, witness=True, witnessed=True, may_be_cause=True, outage=True)
    assert judge(EndpointDown("x"), facts, Retry()) is RETRY


def test_an_event_that_cannot_be_sent_says_nothing_about_the_sink() -> None:
    assert judge(Refused("x", local=True), Facts(refusing=True), Retry()) is GIVE_UP
    assert judge(Refused("x"), Facts(refusing=True), Retry()) is HOLD


def test_what_is_no_delivery_error_is_the_events_fault() -> None:
    assert isinstance(classify(KeyError("x")), Refused)
    assert isinstance(classify(KeyError("x"), Ambiguous), Ambiguous)
    assert isinstance(classify(Refused("x"), Ambiguous), Refused)
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


@pytest.mark.parametrize(
    ("verdict", "several", "attempts", "found"),
    [
        (Verdict.HOLD, False, 50, Verdict.HOLD),
        (Verdict.GIVE_UP, False, 1, Verdict.GIVE_UP),
        (Verdict.SPLIT, True, 1, Verdict.SPLIT),
        (Verdict.RETRY, False, 2, Verdict.RETRY),
        (Verdict.ROTATE, False, 2, Verdict.RETRY),
        (Verdict.RETRY, False, 3, Verdict.GIVE_UP),
        (Verdict.ROTATE, False, 3, Verdict.GIVE_UP),
        (Verdict.RETRY, True, 1, Verdict.RETRY),
        (Verdict.ROTATE, True, 2, Verdict.SPLIT),
    ],
)
def test_a_delivery_that_has_an_end_counts_every_attempt(
    verdict: Verdict, several: bool, attempts: int, found: Verdict
) -> None:
    assert bounded(verdict, Retry(max_attempts=3), attempts=attempts, several=several) is found


def test_a_delivery_that_has_an_end_has_one_without_a_limit_too() -> None:
    outcomes = [bounded(Verdict.RETRY, FOR_EVER, attempts=attempts, several=False) for attempts in (9, 10)]
    assert outcomes == [Verdict.RETRY, Verdict.GIVE_UP]
