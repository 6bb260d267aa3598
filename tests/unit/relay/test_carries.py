"""Events that a step has nothing to do for are led past it."""

from __future__ import annotations

from collections.abc import Sequence

from mess.errors import BatchError, EndpointDown, Refused
from mess.event import Event
from tests.unit.fakes import Recorder, make_event
from tests.unit.relay.line import Line


class Inserts(Recorder):
    """Has something to do for inserts only."""

    def carries(self, event: Event) -> bool:
        return event.operation == "insert"


def mixed() -> list[Event]:
    return [make_event(number, operation="drop" if number % 2 else "insert", key=1) for number in range(5)]


def metric(line: Line, outcome: str) -> str:
    wanted = f'outcome="{outcome}"'
    return next((row.split()[-1] for row in line.metrics.render().decode().splitlines() if wanted in row), "none")


async def test_they_go_on_in_their_order_without_having_been_given_to_the_step() -> None:
    sink, behind = Inserts(), Recorder()
    line = Line(sink, behind)
    events = mixed()
    line.feed(events)
    await line.until(5)
    assert sink.delivered == events[::2]
    assert behind.delivered == line.delivered == events
    await line.stop()


async def test_they_say_nothing_of_how_the_sink_is() -> None:
    """Nor do they wait for one that is down."""
    sink = Inserts(*[EndpointDown("down")] * 3)
    line = Line(sink)
    events = mixed()
    line.feed(events)
    await line.until(5)
    assert all(event.operation == "insert" for call in sink.calls for event in call)
    assert sorted(line.delivered, key=events.index) == events
    assert (metric(line, "passed_over"), metric(line, "delivered")) == ("2.0", "3.0")
    await line.stop()


async def test_what_is_refused_beside_them_is_given_up_and_they_are_not() -> None:
    sink = Inserts(Refused("no"))
    line = Line(sink, retry={"max_attempts": 1})
    events = [make_event(0), make_event(1, operation="drop")]
    line.feed(events)
    await line.until(2)
    assert [letter.id for letter in line.letters.kept] == [events[0].id]
    assert line.delivered == events[1:]
    await line.stop()


class Stumbling(Inserts):
    """Reaches no more than the first event of its first call."""

    async def deliver(self, events: Sequence[Event]) -> None:
        await super().deliver(events[:1])
        if len(self.calls) == 1 and events[1:]:
            raise BatchError({}, untried=events[1:])


async def test_none_overtakes_an_earlier_change_of_its_document_that_the_step_did_not_reach() -> None:
    sink, behind = Stumbling(), Recorder()
    line = Line(sink, behind)
    events = [
        make_event(0, key=1),
        make_event(1, key=2, operation="delete"),
        make_event(2, key=2),
        make_event(3, key=2, operation="delete"),
        make_event(4, key=3, operation="delete"),
    ]
    line.feed(events)
    await line.until(5)
    document = [event for event in behind.delivered if event.key == {"_id": 2}]
    assert document == events[1:4]
    assert (metric(line, "passed_over"), metric(line, "delivered")) == ("3.0", "2.0")
    await line.stop()
