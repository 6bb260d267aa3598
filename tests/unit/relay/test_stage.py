"""What the pipeline does for every step: retries, gives up, counts, keeps the order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mess.config.model import StepSpec
from mess.errors import Ambiguous, BatchError, EndpointDown, MessError, Refused, Stopped
from mess.event import Event
from mess.relay.pipeline import Pipeline
from mess.relay.stage import Stage
from mess.relay.stopping import Halted, Stopping
from mess.step import Step, Transform
from mess.telemetry.metrics import Metrics
from tests.unit.fakes import Letters, Recorder, make_events

QUICK = {"first": 0.001, "cap": 0.002}


class Bench:
    """One stage around a step, with what a test looks at."""

    def __init__(self, step: Step, **spec: Any) -> None:
        self.stopping = Stopping()
        self.letters = Letters()
        self.metrics = Metrics("test")
        self.stage = Stage(
            step,
            StepSpec.model_validate({"name": "sink", "retry": QUICK, **spec}),
            "default",
            stopping=self.stopping,
            keep=self.letters,
            metrics=self.metrics.step("default", "sink"),
        )


@pytest.mark.parametrize("error", [EndpointDown("down"), Ambiguous("maybe")])
async def test_an_outage_is_retried_until_it_is_over_and_loses_nothing(error: Exception) -> None:
    sink = Recorder(*[error] * 5)
    bench = Bench(sink)
    events = make_events(3)
    assert await bench.stage.process(events) == events
    assert sink.delivered == events
    assert bench.letters.kept == []
    assert bench.stage.trouble is None


class Picky(Recorder):
    """Fails on one event always, and tells when it does."""

    def __init__(self, poison: Event) -> None:
        super().__init__()
        self.poison = poison
        self.failed = asyncio.Event()

    async def deliver(self, events: Sequence[Event]) -> None:
        if self.poison in events:
            self.failed.set()
            raise Ambiguous("500")
        await super().deliver(events)


async def test_an_outage_that_looks_ambiguous_costs_nothing_however_long() -> None:
    [event] = make_events(1)
    bench = Bench(Recorder(*[Ambiguous("500")] * 20), retry={**QUICK, "max_attempts": 3})
    assert await bench.stage.process([event]) == [event]
    assert bench.letters.kept == []


async def test_an_event_that_fails_while_others_get_through_is_given_up_on() -> None:
    poison, *healthy = make_events(4)
    sink = Picky(poison)
    bench = Bench(sink, retry={**QUICK, "max_attempts": 3})
    work = asyncio.create_task(bench.stage.process([poison]))
    for event in healthy:
        await sink.failed.wait()
        sink.failed.clear()
        await bench.stage.process([event])
    assert await work == []
    [letter] = bench.letters.kept
    assert (letter.id, letter.reason, letter.error) == (poison.id, "500", "Ambiguous")


async def test_while_a_step_fails_its_trouble_is_known() -> None:
    [event] = make_events(1)
    sink = Picky(event)
    bench = Bench(sink, retry={"first": 30})
    work = asyncio.create_task(bench.stage.process([event]))
    await sink.failed.wait()
    await asyncio.sleep(0)
    assert bench.stage.trouble == "500"
    bench.stopping.set()
    with pytest.raises(Halted):
        await work


async def test_only_the_failed_events_of_a_mini_batch_are_tried_again_and_the_order_is_kept() -> None:
    sink = Recorder(BatchError({1: EndpointDown("down")}))
    bench = Bench(sink)
    events = make_events(3)
    assert await bench.stage.process(events) == events
    assert [len(call) for call in sink.calls] == [3, 1]
    assert sink.delivered == [events[1]]


async def test_a_refused_event_becomes_a_dead_letter_and_the_others_go_on() -> None:
    bench = Bench(Recorder(BatchError({1: Refused("bad number")})))
    events = make_events(3)
    events[1].body = {"mapped": True}
    assert await bench.stage.process(events) == [events[0], events[2]]
    [letter] = bench.letters.kept
    assert (letter.id, letter.reason, letter.step, letter.attempts) == (events[1].id, "bad number", "sink", 1)
    assert letter.event is events[1].change
    assert letter.body == {"mapped": True}


async def test_any_other_exception_is_the_events_fault() -> None:
    bench = Bench(Recorder(ValueError("odd")))
    assert await bench.stage.process(make_events(1)) == []
    assert bench.letters.kept[0].reason == "ValueError: odd"


async def test_skip_drops_a_refused_event() -> None:
    bench = Bench(Recorder(Refused("no")), on_failure="skip")
    assert await bench.stage.process(make_events(1)) == []
    assert bench.letters.kept == []


async def test_stop_ends_the_relay_and_names_the_event() -> None:
    bench = Bench(Recorder(Refused("no")), on_failure="stop")
    events = make_events(1)
    with pytest.raises(Stopped, match=events[0].id):
        await bench.stage.process(events)


async def test_stopping_ends_a_pause_at_once() -> None:
    bench = Bench(Recorder(EndpointDown("down", retry_after=200)))
    work = asyncio.create_task(bench.stage.process(make_events(1)))
    await asyncio.sleep(0)
    bench.stopping.set()
    async with asyncio.timeout(1):
        with pytest.raises(Halted):
            await work


async def test_a_step_that_returns_a_foreign_event_is_a_mistake_that_is_named() -> None:
    class Foreign(Transform):
        def apply(self, event: Event) -> Event:
            return make_events(1)[0]

    with pytest.raises(MessError, match="not given"):
        await Bench(Foreign()).stage.process(make_events(1))


async def test_a_pipeline_tells_of_every_event_once_as_soon_as_it_is_done() -> None:
    """Dropped ones at once, delivered ones slice by slice."""

    class Odd(Transform):
        def apply(self, event: Event) -> Event | None:
            return event if event.change["fullDocument"]["n"] % 2 else None

    sink = Recorder(max_events=1)
    pipeline = Pipeline("default", [Bench(Odd()).stage, Bench(sink).stage])
    told: list[tuple[list[int], bool]] = []
    await pipeline.run(
        make_events(6), lambda done, delivered: told.append(([e.change["fullDocument"]["n"] for e in done], delivered))
    )
    assert told == [([0, 2, 4], False), ([1], True), ([3], True), ([5], True)]
    assert [len(call) for call in sink.calls] == [1, 1, 1]


async def test_a_retry_does_not_repeat_earlier_steps() -> None:
    class Count(Transform):
        def apply(self, event: Event) -> Event:
            event.body = {"times": event.body.get("times", 0) + 1}
            return event

    sink = Recorder(EndpointDown("down"), EndpointDown("down"))
    pipeline = Pipeline("default", [Bench(Count()).stage, Bench(sink).stage])
    await pipeline.run(make_events(2), lambda done, delivered: None)
    assert [event.body for event in sink.delivered] == [{"times": 1}, {"times": 1}]
