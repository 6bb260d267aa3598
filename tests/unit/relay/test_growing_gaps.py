"""Consecutive losses for one reason are one gap, however many there are, and reasons without number are bounded."""

from __future__ import annotations

import pytest
from bson import Timestamp

from mess.relay import growing_gaps
from mess.relay.growing_gaps import SEVERAL, GrowingGaps, Loss
from mess.state.records import Gap
from tests.unit.fakes import Letters


def lost(number: int, namespace: str = "shop.orders") -> Loss:
    return Loss(f"msg_{number}", (namespace,), Timestamp(number, 1))


def test_one_gap_for_one_reason_has_both_ends_and_the_number() -> None:
    gaps = GrowingGaps("skipped", Letters(), pipeline="shop", step="http")
    first = gaps.add("refused", [lost(5), lost(3)])
    gaps.add("another reason", [lost(4)])
    last = gaps.add("refused", [lost(9, "shop.items")])
    assert first.id == last.id
    assert (last.since, last.until, last.count) == (Timestamp(3, 1), Timestamp(9, 1), 3)
    assert (last.first, last.last) == ("msg_5", "msg_9")
    assert last.namespaces == ("shop.orders", "shop.items")


def test_a_flood_of_reasons_is_bounded_and_every_loss_is_counted() -> None:
    gaps = GrowingGaps("skipped", Letters(), pipeline="shop", step="http")
    found: dict[str, Gap] = {}
    for number in range(1, 1001):
        gap = gaps.add(f"order {number} is bad", [lost(number, f"shop.c{number}")])
        found[gap.id] = gap
    assert len(found) == 11
    assert sum(gap.count or 0 for gap in found.values()) == 1000
    [several] = [gap for gap in found.values() if gap.reason == SEVERAL]
    assert several.namespaces == ("shop.*",)
    assert several.until == Timestamp(1000, 1)


def test_namespaces_are_bounded_too() -> None:
    gaps = GrowingGaps("skipped", Letters(), pipeline="shop", step="http")
    for number in range(1, 101):
        gap = gaps.add("refused", [lost(number, f"tenant_{number}.orders")])
    assert gap.namespaces == ("*.*",)


def test_a_reason_that_no_store_can_hold_is_escaped() -> None:
    """As of a function that raises an error about a text that is not Unicode."""
    gaps = GrowingGaps("skipped", Letters(), pipeline="shop", step="http")
    gap = gaps.add("bad \ud800 and \0", [lost(1)])
    assert gap.reason == "bad \\ud800 and \\0"
    assert gaps.add("bad \ud800 and \0", [lost(2)]).id == gap.id


def test_a_pause_begins_a_new_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(growing_gaps.time, "monotonic", lambda: now)
    gaps = GrowingGaps("unreadable", Letters(), stream="shop")
    first = gaps.add("16 MB", [lost(1)])
    now += 599
    assert gaps.add("16 MB", [lost(2)]).id == first.id
    now += 601
    assert gaps.add("16 MB", [lost(3)]).id != first.id


def test_a_change_that_is_read_again_after_a_crash_is_the_same_gap() -> None:
    """Of skipped events it is another one: it may be only a part of the first."""
    again = [GrowingGaps("unreadable", Letters(), stream="shop").add("16 MB", [lost(1)]).id for _ in range(2)]
    assert again[0] == again[1]


def test_a_gap_that_is_being_repaired_does_not_grow() -> None:
    """What is lost from then on is not repaired by documents that were read before."""
    keeper = Letters()
    gaps = GrowingGaps("skipped", keeper, pipeline="shop", step="http")
    first = gaps.add("refused", [lost(1)])
    assert gaps.add("refused", [lost(2)]).id == first.id
    keeper.closed_gaps.add(first.id)
    second = gaps.add("refused", [lost(3)])
    assert second.id != first.id
    assert second.count == 1
    assert gaps.add("refused", [lost(4)]).count == 2
