"""Pauses grow, are bounded, and differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mess.options.backoff import backoff


@given(attempt=st.integers(1, 10**9), first=st.floats(0, 1e6), multiplier=st.floats(1, 1e4), cap=st.floats(0, 1e9))
def test_a_pause_is_never_longer_than_the_cap_nor_shorter_than_half_of_the_first(
    attempt: int, first: float, multiplier: float, cap: float
) -> None:
    """However late the attempt."""
    assert min(first, cap) / 2 <= backoff(attempt, first=first, multiplier=multiplier, cap=cap) <= cap


def test_each_pause_is_that_much_longer_until_the_cap() -> None:
    pauses = [max(backoff(n, first=0.1, multiplier=2, cap=1) for _ in range(300)) for n in (1, 2, 3, 4, 5, 6)]
    for pause, whole in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1, 1], strict=True):
        assert whole * 0.9 < pause <= whole


def test_two_relays_do_not_come_back_at_the_same_time() -> None:
    assert len({backoff(5, first=1, multiplier=2, cap=10) for _ in range(50)}) > 40
