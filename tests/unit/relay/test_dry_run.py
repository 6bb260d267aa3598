"""An event through steps without sending anything."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mess.config.model import StepSpec
from mess.errors import BatchError, EndpointDown, MessError, Refused
from mess.event import Event
from mess.relay.build import BuiltStep
from mess.relay.dry_run import DryRun, dry_run, opened
from mess.steps.base import Preview, Sink, Step
from tests.unit.fakes import make_event


class Watched(Step):
    """Notes its life, and adds one to the body's `n`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.life: list[str] = []
        self.error = error

    async def open(self) -> None:
        self.life.append("open")

    async def close(self) -> None:
        self.life.append("close")

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        self.life.append("process")
        if self.error is not None:
            raise self.error
        for event in events:
            event.body = {"n": event.body.get("n", 0) + 1}
        return events


class Quiet(Sink):
    """A package's sink, which cannot say what it would send."""

    async def open(self) -> None:
        raise AssertionError("a sink is opened")

    async def deliver(self, events: Sequence[Event]) -> None:
        raise AssertionError("a sink delivers")


class Telling(Quiet):
    """One that can."""

    def preview(self, event: Event) -> Preview:
        return Preview(str(event.body["n"]).encode())


class Dropping(Watched):
    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        return []


class Swapping(Watched):
    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        return [make_event(9)]


async def ran(*steps: Step) -> DryRun:
    built = [BuiltStep(f"step {number}", StepSpec(name="log"), step) for number, step in enumerate(steps, 1)]
    async with opened(built):
        return await dry_run(built, make_event(1))


async def test_steps_run_in_order_and_sinks_say_what_they_would_send() -> None:
    first, second = Watched(), Watched()
    found = await ran(first, Telling(), second, Quiet(), Telling())
    assert found.sent == {"step 2": Preview(b"1"), "step 4": None, "step 5": Preview(b"2")}
    assert found.bodies == {"step 1": {"n": 1}, "step 3": {"n": 2}}
    assert (found.dropped, found.failed) == (None, None)
    assert first.life == second.life == ["open", "process", "close"]


@pytest.mark.parametrize("error", [Refused("no"), BatchError({0: Refused("no")}), EndpointDown("no")])
async def test_an_event_ends_where_a_step_fails(error: Exception) -> None:
    later = Watched()
    found = await ran(Watched(), Watched(error), Telling(), later)
    assert (found.failed, str(found.error), found.sent) == ("step 2", "no", {})
    assert later.life == ["open", "close"]


async def test_an_event_ends_where_it_is_dropped() -> None:
    found = await ran(Watched(), Telling(), Dropping(), Telling())
    assert (found.dropped, list(found.sent)) == ("step 3", ["step 2"])


async def test_a_step_that_an_event_bypasses_does_not_get_it() -> None:
    step, sink = Watched(), Telling()
    step.carries = sink.carries = lambda event: False
    assert await ran(step, sink) == DryRun()


async def test_a_sink_that_fails_unexpectedly_would_try_again() -> None:
    """As in a relay: an unforeseen exception may be the sink's fault."""
    found = await ran(Telling())  # there is no n
    assert (found.failed, type(found.error).__name__) == ("step 1", "Ambiguous")


async def test_a_step_that_breaks_its_promises_is_an_error() -> None:
    with pytest.raises(MessError, match="step 1 returned an event that it was not given"):
        await ran(Swapping())
