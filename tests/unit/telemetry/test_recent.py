"""What became of recent events."""

from __future__ import annotations

from mess.errors import Refused
from mess.telemetry.metrics import Metrics
from mess.telemetry.recent import MOST, Recent
from tests.unit.fakes import make_event, make_events


def test_what_became_of_events() -> None:
    """Delivered, dropped by a step, stored or skipped; the newest outcome counts."""
    recent = Recent(Metrics("1.0"))
    pipeline, step = recent.pipeline("shop"), recent.step("shop", "http")
    delivered, dropped, stored, skipped = make_events(4)
    pipeline.finished([delivered], delivered=True)
    pipeline.finished([dropped], delivered=False)
    for event, is_stored in ((stored, True), (skipped, False)):
        step.given_up([event], Refused("no"), stored=is_stored)
        pipeline.finished([event], delivered=False)
    found = [recent.find(event.id) for event in (delivered, dropped, stored, skipped)]
    assert [each and (each.outcome, each.pipeline, each.step) for each in found] == [
        ("delivered", "shop", None),
        ("ended", "shop", None),
        ("dead_letter", "shop", "http"),
        ("skipped", "shop", "http"),
    ]
    pipeline.finished([stored], delivered=True)
    again = recent.find(stored.id)
    assert again is not None
    assert again.outcome == "delivered"
    pipeline.finished([delivered], delivered=False)
    again = recent.find(delivered.id)
    assert again is not None
    assert again.outcome == "ended"
    assert recent.find(make_event(99).id) is None


def test_a_bounded_number_is_remembered() -> None:
    """The newest ones, whatever the size of their batches."""
    recent = Recent(Metrics("1.0"))
    pipeline = recent.pipeline("shop")
    first, *others = (make_events(500, first=first) for first in range(0, MOST + 1000, 500))
    for events in (first, *others):
        pipeline.finished(events, delivered=True)
    assert recent.find(first[0].id) is None
    assert all(recent.find(events[0].id) is not None for events in others[1:])
    assert sum(len(ids) for _, _, ids in recent._batches) <= MOST + 500


def test_metrics_count_what_is_remembered() -> None:
    """It passes everything on."""
    metrics = Metrics("1.0")
    recent = Recent(metrics)
    recent.pipeline("shop").finished(make_events(3), delivered=True)
    recent.step("shop", "http").delivered(make_events(3))
    recent.step("shop", "http").given_up(make_events(2), Refused("no"), stored=True)
    recent.stream("shop").read(make_events(4))
    counts = metrics.step_counts("shop", "http")
    assert (metrics.changed, metrics.read_from("shop")) == (3, 4)
    assert (counts.delivered, counts.dead_letters) == (3, 2)
