"""A document whose events go to one destination and another in turn."""

from __future__ import annotations

from collections.abc import Sequence

from mess.event import Event
from mess.steps.base import Sink
from tests.fuzz.stream import Stream
from tests.unit.fakes import make_event


class TwoTargets(Sink):
    """Accepts everything, and notes it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.destination = lambda event: str(event.change["fullDocument"]["n"] % 2)

    async def deliver(self, events: Sequence[Event]) -> None:
        self.taken += [event.id for event in events]


async def test_any_number_of_turns_keeps_the_order_and_ends_no_relay() -> None:
    """A backlog of one document is one mini-batch, and goes out event by event."""
    sink = TwoTargets()
    events = [make_event(n, key="lock") for n in range(500)]
    await Stream((sink, {})).take([(0, events)], timeout=60)
    assert sink.taken == [event.id for event in events]
