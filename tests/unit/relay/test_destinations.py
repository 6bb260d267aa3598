"""A step with several destinations: one that is down holds back its own events, and later ones of their documents."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mess.config.model import Probe
from mess.errors import Ambiguous, BatchError, EndpointDown, Refused
from mess.event import Event
from mess.relay.breaker import Result
from mess.relay.destinations import KEPT, Destinations
from mess.relay.evidence import Evidence
from mess.relay.retry import Verdict
from mess.relay.stopping import Stopping
from mess.steps.base import Sink
from tests import clock
from tests.unit.fakes import make_event, make_events
from tests.unit.relay.line import Line

USUAL: dict[str, Any] = {"retry": {"first": 0.2, "cap": 5.0}, "probe": {"first": 0.25, "cap": 30.0}}
DOWN = EndpointDown("answered 503")
GONE = EndpointDown("answered 404", event_may_be_cause=True)
AWAY = EndpointDown("nobody listens", shared=True)


def made(number: int, place: str, key: Any = None) -> Event:
    event = make_event(number, key=key)
    event.body = {**event.body, "to": place}
    return event


class Places(Sink):
    """Takes mini-batches with events for many places, one by one; `answer` may give an error for an event."""

    def __init__(self, answer: Callable[[Event], Exception | None], size: int = 500) -> None:
        self.max_events = size
        self.answer = answer
        self.destination = lambda event: event.body["to"]
        self.taken: list[Event] = []
        self.tried: list[tuple[float, str, int]] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        await asyncio.sleep(0.005)
        errors: dict[int, Exception] = {}
        for index, event in enumerate(events):
            self.tried.append((time.monotonic(), event.body["to"], number(event)))
            if (error := self.answer(event)) is not None:
                errors[index] = error
            else:
                self.taken.append(event)
        if errors:
            raise BatchError(errors)


def number(event: Event) -> int:
    found: int = event.change["fullDocument"]["n"]
    return found


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("size", [1, 500])
@pytest.mark.parametrize("error", [DOWN, GONE, Ambiguous("answered 500")])
def test_a_destination_that_is_down_holds_back_its_own_events_only(error: Exception, size: int, lanes: int) -> None:
    """And nothing is given up: nobody at that destination shows that it is well. When it is back, all is delivered."""

    async def work() -> None:
        down = True
        sink = Places(lambda event: error if down and event.body["to"] == "b" else None, size)
        bench = Line(sink, lanes=lanes, **USUAL)
        bench.feed([made(n, "abc"[n % 3]) for n in range(300)])
        await bench.until(200, timeout=30)
        for first in range(300, 360, 3):
            bench.feed([made(first + n, "abc"[n]) for n in range(3)])
            await asyncio.sleep(20)
        assert {event.body["to"] for event in sink.taken} == {"a", "c"}
        assert len(sink.taken) == 240
        assert bench.letters.kept == []
        assert bench.runner.trouble is not None
        assert "one destination is down" in bench.runner.trouble
        down = False
        await bench.until(360, timeout=60)
        assert bench.runner.trouble is None
        assert len(sink.taken) == 360

    clock.run(work())


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 500])
def test_a_document_keeps_its_order_across_destinations(size: int, lanes: int) -> None:
    """Its event for a destination that is down holds back its later ones, wherever they go."""

    async def work() -> None:
        down = {"b", "d"}
        sink = Places(lambda event: DOWN if event.body["to"] in down else None, size)
        bench = Line(sink, lanes=lanes, **USUAL)
        count = 0
        for _ in range(12):
            bench.feed([made(count + n, "abcd"[(7 * (count + n)) % 4], key=(count + n) % 9) for n in range(20)])
            count += 20
            await asyncio.sleep(1)
            _in_order(sink)
        down.remove("b")
        await asyncio.sleep(60)
        _in_order(sink)
        down.clear()
        await bench.until(count, timeout=100)
        _in_order(sink)
        assert len({event.id for event in sink.taken}) == len(sink.taken) == count

    clock.run(work())


def _in_order(sink: Places) -> None:
    seen: dict[int, list[int]] = defaultdict(list)
    for event in sink.taken:
        assert event.key is not None
        seen[event.key["_id"]].append(number(event))
    for numbers in seen.values():
        assert numbers == list(range(numbers[0], numbers[0] + 9 * len(numbers), 9)), "a later one overtook"


def test_a_sink_that_is_away_is_down_for_all_destinations_and_probed_as_one() -> None:
    """A broker's connection is shared by its targets: one probe after 2 % of the outage, not one for each target."""

    async def work() -> None:
        away = True
        sink = Places(lambda event: AWAY if away else None)
        bench = Line(sink, lanes=4, **USUAL)
        bench.feed([made(n, f"topic {n}") for n in range(400)])
        await asyncio.sleep(3600)
        late = {at for at, _, _ in sink.tried if at - 1000 > 1800}
        assert len(late) <= 1800 / 29 + 1
        away = False
        await bench.until(400, timeout=60)
        assert bench.letters.kept == []

    clock.run(work())


def test_many_destinations_that_are_down_make_no_storm_of_probes_and_recover_at_once() -> None:
    async def work() -> None:
        down = True
        sink = Places(lambda event: DOWN if down else None, size=1)
        bench = Line(sink, lanes=8, **USUAL)
        bench.feed([made(n, f"tenant {n}") for n in range(300)])
        await asyncio.sleep(60)
        before = len(sink.tried)
        await asyncio.sleep(150)
        assert len(sink.tried) - before <= 150 / 0.25 + 1
        places = {place for _, place, _ in sink.tried[before:]}
        assert len(places) == 300, "each gets its turn"
        down = False
        await bench.until(300, timeout=60)

    clock.run(work())


def test_the_poison_of_one_destination_needs_a_witness_at_that_destination() -> None:
    """Others that take events say nothing of it."""

    async def work() -> None:
        sink = Places(lambda event: GONE if number(event) == 0 else None, size=1)
        bench = Line(sink, lanes=2, **USUAL)
        bench.feed([made(0, "a")])
        for n in range(1, 400):
            bench.feed([made(n, "b")])
            await asyncio.sleep(2)
        assert bench.letters.kept == []
        for n in range(400, 800):
            bench.feed([made(n, "a")])
            await asyncio.sleep(2)
        [letter] = bench.letters.kept
        assert letter.id == make_event(0).id
        assert len(sink.taken) == 799

    clock.run(work())


def test_a_step_that_refuses_everything_is_held_whatever_the_destinations() -> None:
    async def work() -> None:
        sink = Places(lambda event: Refused("422"), size=1)
        bench = Line(sink, lanes=1, **USUAL)
        bench.feed([made(n, f"tenant {n}") for n in range(300)])
        await asyncio.sleep(60)
        assert len(bench.letters.kept) == 100
        assert bench.runner.trouble is not None
        await bench.stop()

    clock.run(work())


def test_a_probe_that_is_refused_shows_that_the_destination_is_back() -> None:
    async def work() -> None:
        answers: dict[int, Exception | None] = {0: DOWN}
        sink = Places(lambda event: answers.get(number(event)), size=1)
        bench = Line(sink, lanes=1, **USUAL)
        bench.feed([made(n, "a") for n in range(3)])
        await asyncio.sleep(0.1)
        assert sink.taken == []
        answers[0] = Refused("422")
        await bench.until(3, timeout=2)
        assert [number(event) for event in sink.taken] == [1, 2]

    clock.run(work())


async def test_breakers_of_destinations_are_bounded_and_cost_nothing_while_all_is_well() -> None:
    """None is made before a destination fails; those that nothing waits for are kept up to a bound."""
    found = Destinations(
        lambda event: event.body["to"],
        Probe(),
        Stopping(),
        whole=Evidence(Probe()),
        changed=lambda error, destination: None,
    )
    found.accept([made(n, f"tenant {n}") for n in range(10)])
    assert not found
    for n in range(3 * KEPT):
        found.breaker(f"tenant {n}")
    assert len(found._breakers) == KEPT
    found.breaker("down").report(Result(error=DOWN, verdict=Verdict.HOLD))
    for n in range(3 * KEPT):
        found.breaker(f"other {n}")
    assert "down" in found._breakers
    assert len(found._breakers) <= KEPT + 1
    events = make_events(1)
    events[0].body = {"to": "down"}
    _, [waiting], _ = found.divide(events)
    assert waiting.destination == "down"


@pytest.mark.parametrize("size", [1, 3, 500])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_nothing_is_lost_or_delivered_twice_and_each_document_keeps_its_order(
    size: int, seed: int
) -> None:
    """Several destinations that fail at random, each in each way, behind one another in two steps."""

    async def work() -> None:
        dice = random.Random(seed)
        errors = [DOWN, GONE, AWAY, Ambiguous("500"), EndpointDown("429", retry_after=3.0)]
        well = False

        def answer(event: Event) -> Exception | None:
            return None if well or dice.random() < 0.7 else dice.choice(errors)

        class Fallible(Places):
            async def deliver(self, events: Sequence[Event]) -> None:
                if not well and dice.random() < 0.1:
                    raise dice.choice(errors)
                # As a broker does: of one document, none is taken behind one that fails.
                failed: dict[Any, Exception] = {}

                def answer_in_order(event: Event) -> Exception | None:
                    key = event.key["_id"]  # type: ignore[index]
                    if key not in failed and (error := answer(event)) is not None:
                        failed[key] = error
                    return failed.get(key)

                self.answer = answer_in_order
                await super().deliver(events)

        first, second = Fallible(answer, size), Fallible(answer, size)
        bench = Line(first, second, lanes=3, retry={**USUAL["retry"], "max_attempts": None}, probe=USUAL["probe"])
        events = [made(n, dice.choice("abcd"), key=dice.randrange(12)) for n in range(300)]
        for start in range(0, 300, 20):
            bench.feed(events[start : start + 20])
            await asyncio.sleep(dice.random())
        await asyncio.sleep(200)
        well = True
        await bench.until(300, timeout=1000)
        for sink in (first, second):
            seen: dict[Any, list[int]] = defaultdict(list)
            for event in sink.taken:
                seen[event.key["_id"]].append(number(event))  # type: ignore[index]
            assert all(numbers == sorted(numbers) for numbers in seen.values())
            assert len({event.id for event in sink.taken}) == len(sink.taken)
        assert len(second.taken) == 300
        assert bench.letters.kept == []

    clock.run(work())
