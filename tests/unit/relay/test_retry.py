"""The policy: what a failure means, and how long the pauses are."""

from __future__ import annotations

import pytest

from mess.config.model import Retry
from mess.errors import Ambiguous, EndpointDown, Refused
from mess.relay.retry import Verdict, classify, judge, pause


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (EndpointDown("down"), Verdict.RETRY),
        (Ambiguous("maybe"), Verdict.RETRY),
        (Refused("no"), Verdict.GIVE_UP),
        (KeyError("x"), Verdict.GIVE_UP),
    ],
)
def test_only_a_refusal_is_given_up_on(error: Exception, verdict: Verdict) -> None:
    assert judge(classify(error), Retry(max_attempts=None), 1_000_000) is verdict


def test_with_a_bound_only_ambiguous_failures_are_given_up_on() -> None:
    retry = Retry(max_attempts=3)
    assert judge(Ambiguous("maybe"), retry, 2) is Verdict.RETRY
    assert judge(Ambiguous("maybe"), retry, 3) is Verdict.GIVE_UP
    assert judge(EndpointDown("down"), retry, 1_000_000) is Verdict.RETRY


def test_pauses_grow_up_to_the_cap_with_jitter_downwards() -> None:
    retry = Retry(first=1, multiplier=2, cap=10)
    for attempt, longest in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)]:
        for _ in range(20):
            assert longest / 2 <= pause(retry, attempt, Ambiguous("x")) <= longest


def test_retry_after_is_followed_up_to_five_minutes() -> None:
    assert pause(Retry(), 1, EndpointDown("x", retry_after=42)) == 42
    assert pause(Retry(), 1, EndpointDown("x", retry_after=9999)) == 300
