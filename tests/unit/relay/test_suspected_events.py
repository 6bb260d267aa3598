"""Answers that say that the sink is down, though one event may be the cause: it is found and given up, and an outage
never costs an event."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from mess.errors import Ambiguous, EndpointDown, Refused
from mess.event import Event
from mess.steps.base import Sink
from tests import clock
from tests.unit.fakes import make_events
from tests.unit.relay.line import Line

USUAL: dict[str, Any] = {
    "retry": {"first": 0.2, "cap": 5.0},
    "probe": {"first": 0.25, "cap": 30.0},
}
"""The pauses that users have."""
FORBIDDEN = EndpointDown("answered 403", event_may_be_cause=True)
GATEWAY = EndpointDown("answered 502", event_may_be_cause=True)


class Receiver(Sink):
    """Takes requests of `size` events, each in 5 ms; `answer` may give an error for one."""

    def __init__(self, answer: Callable[[Sequence[int]], Exception | None], size: int = 1) -> None:
        self.max_events = size
        self.answer = answer
        self.taken: dict[int, float] = {}
        self.requests: list[tuple[float, list[int]]] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        numbers = [number(event) for event in events]
        self.requests.append((time.monotonic(), numbers))
        await asyncio.sleep(0.005)
        if error := self.answer(numbers):
            raise error
        self.taken.update(dict.fromkeys(numbers, time.monotonic()))


def number(event: Event) -> int:
    found: int = event.change["fullDocument"]["n"]
    return found


async def feed(bench: Line, seconds: float, every: float = 0.1, first: int = 1000) -> int:
    """A new document every so often; returns how many there were."""
    fed, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        bench.feed(make_events(1, first=first + fed))
        fed += 1
        await asyncio.sleep(every)
    return fed


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("size", [1, 25])
def test_one_poisoned_document_is_given_up_and_delays_no_other_for_long(size: int, lanes: int) -> None:
    """24 of 25 documents are delivered within seconds, in batches or not and whatever the number of lanes; the one that
    always gets 403 is given up after `max_attempts` and `min_age`, and not before."""

    async def work() -> None:
        sink = Receiver(lambda numbers: FORBIDDEN if 7 in numbers else None, size)
        bench = Line(sink, lanes=lanes, **USUAL)
        began = time.monotonic()
        bench.feed(make_events(25))
        fed = await feed(bench, 340, every=0.25)
        assert max(sink.taken[n] for n in range(25) if n != 7) - began < 20
        assert len(sink.taken) == 24 + fed
        late = [at - (began + 0.25 * (n - 1000)) for n, at in sink.taken.items() if n >= 1000]
        assert max(late) < 3, "nothing else waits for it for long"
        [letter] = bench.letters.kept
        assert letter.event["fullDocument"]["n"] == 7
        assert (letter.reason, letter.error) == ("answered 403", "EndpointDown")
        given_up = max(at for at, numbers in sink.requests if numbers == [7])
        assert 300 < given_up - began < 330
        await bench.stop()

    clock.run(work())


def test_without_another_event_to_show_that_the_sink_is_well_nothing_is_given_up() -> None:
    async def work() -> None:
        sink = Receiver(lambda numbers: FORBIDDEN)
        bench = Line(sink, lanes=2, **USUAL)
        bench.feed(make_events(1))
        await asyncio.sleep(3600)
        assert bench.letters.kept == []
        assert bench.runner.trouble == "answered 403"
        # It is found as soon as there is one, though it comes through the same lane.
        sink.answer = lambda numbers: FORBIDDEN if 0 in numbers else None
        fed = await feed(bench, 400, every=0.2)
        assert len(sink.taken) == fed
        assert len(bench.letters.kept) == 1
        await bench.stop()

    clock.run(work())


def test_a_hopeless_event_does_not_make_the_step_seem_down_again_and_again() -> None:
    """`/readyz?sinks=true` does not flip back and forth while it is retried, however quiet the stream is."""

    async def work() -> None:
        sink = Receiver(lambda numbers: FORBIDDEN if 0 in numbers else None)
        bench = Line(sink, lanes=2, **USUAL)
        seen: list[bool] = []

        async def look() -> None:
            while True:
                seen.append(bench.runner.trouble is None)
                await asyncio.sleep(0.5)

        looking = asyncio.create_task(look())
        bench.feed(make_events(1))
        await asyncio.sleep(1)
        await feed(bench, 1800, every=60)
        looking.cancel()
        changes = sum(one != other for one, other in pairwise(seen))
        assert changes <= 2, f"{changes} changes"
        await bench.stop()

    clock.run(work())


def test_many_documents_that_fail_like_this_are_an_outage() -> None:
    """One of two backends is down behind a balancer that routes by document: nothing is given up, however long."""

    async def work() -> None:
        down = True
        sink = Receiver(lambda numbers: GATEWAY if down and numbers[0] % 2 else None)
        bench = Line(sink, lanes=16, **USUAL)
        bench.feed(make_events(200))
        await asyncio.sleep(700)
        assert bench.letters.kept == []
        down = False
        await bench.until(200, timeout=600)
        assert sorted(sink.taken) == list(range(200))

    clock.run(work())


@pytest.mark.parametrize("size", [1, 25])
@pytest.mark.parametrize("seed", range(2))
def test_a_backend_that_is_down_for_every_other_request_costs_nothing(size: int, seed: int) -> None:
    """One of two backends is down behind a balancer that routes at random."""

    async def work() -> None:
        dice = random.Random(seed)
        sink = Receiver(lambda numbers: GATEWAY if dice.random() < 0.5 else None, size)
        bench = Line(sink, lanes=16, **USUAL)
        fed = await feed(bench, 400, every=1.0)
        await bench.until(fed, timeout=600)
        assert bench.letters.kept == []
        assert len(sink.taken) == fed

    clock.run(work())


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("size", [1, 25])
def test_a_rate_limiter_that_takes_one_in_ten_costs_nothing(size: int, retry_after: float | None) -> None:
    async def work() -> None:
        dice = random.Random(1)
        busy = EndpointDown("answered 429", retry_after)
        sink = Receiver(lambda numbers: busy if dice.random() < 0.9 else None, size)
        bench = Line(sink, lanes=16, **USUAL)
        bench.feed(make_events(150))
        await asyncio.sleep(600)
        assert bench.letters.kept == []
        sink.answer = lambda numbers: None
        await bench.until(150, timeout=600)
        assert sorted(sink.taken) == list(range(150))

    clock.run(work())


def test_max_attempts_null_never_gives_up_and_min_age_zero_at_once() -> None:
    async def work() -> None:
        for retry, letters in [({"max_attempts": None}, 0), ({"min_age": 0, "max_attempts": 3}, 1)]:
            sink = Receiver(lambda numbers: FORBIDDEN if 0 in numbers else None)
            bench = Line(sink, lanes=2, retry={**USUAL["retry"], **retry}, probe=USUAL["probe"])
            bench.feed(make_events(1))
            await feed(bench, 400 if not letters else 10, every=0.5)
            assert len(bench.letters.kept) == letters
            await bench.stop()

    clock.run(work())


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(
    "error",
    [FORBIDDEN, Ambiguous("answered 500"), EndpointDown("answered 503")],
    ids=lambda error: str(error).split()[-1],
)
def test_many_poisoned_documents_at_the_head_do_not_block_those_behind_them(
    error: Exception, size: int, lanes: int
) -> None:
    """Twenty come first, more than make an outage, and nothing else under way could show that the sink works."""

    async def work() -> None:
        sink = Receiver(lambda numbers: error if min(numbers) < 20 else None, size)
        bench = Line(sink, lanes=lanes, **USUAL)
        bench.feed(make_events(20))
        await asyncio.sleep(1)
        bench.feed(make_events(30, first=1000))
        await asyncio.sleep(120)
        assert sorted(sink.taken) == list(range(1000, 1030))
        fed = await feed(bench, 120, every=0.5, first=2000)
        await asyncio.sleep(15)
        assert len(sink.taken) == 30 + fed
        if not isinstance(error, Ambiguous):
            assert bench.letters.kept == []
        await bench.stop()

    clock.run(work())


@pytest.mark.parametrize("error", [FORBIDDEN, Ambiguous("answered 500")], ids=["403", "500"])
def test_a_batch_with_a_poisoned_document_is_divided_though_nothing_else_happens(error: Exception) -> None:
    """24 of the 25 documents of an insertMany arrive, and then no more; an outage divides nothing for a minute."""

    async def work() -> None:
        sink = Receiver(lambda numbers: error if 7 in numbers else None, 25)
        bench = Line(sink, lanes=1, **USUAL)
        bench.feed(make_events(25))
        await asyncio.sleep(45)
        assert {len(numbers) for _, numbers in sink.requests} == {25}
        await asyncio.sleep(300)
        assert sorted(sink.taken) == [n for n in range(25) if n != 7]
        await bench.stop()

    clock.run(work())


@pytest.mark.parametrize("probing", [False, True])
def test_events_that_cannot_be_sent_hold_nothing_up(probing: bool) -> None:
    """A bulk delete with `endpoint: …/{fullDocument.region}`: hundreds in a row, and the sink has seen none of them."""

    async def work() -> None:
        lacks = Refused("endpoint: fullDocument.region is missing", local=True)
        sink = Receiver(lambda numbers: lacks if numbers[0] < 300 else GATEWAY if probing else None)
        bench = Line(sink, lanes=4, **USUAL)
        if probing:
            bench.feed(make_events(10, first=1000))
            await asyncio.sleep(5)
        bench.feed(make_events(300))
        if probing:
            await asyncio.sleep(5)
            assert bench.runner.trouble == "answered 502", "what was not sent does not close the breaker"
            sink.answer = lambda numbers: lacks if numbers[0] < 300 else None
        bench.feed(make_events(5, first=2000))
        await bench.until(305 + 10 * probing, timeout=300)
        assert len(bench.letters.kept) == 300
        assert bench.runner.trouble is None
        await bench.stop()

    clock.run(work())


@pytest.mark.parametrize("size", [1, 25])
def test_the_log_names_the_event_that_fails_however_it_came(size: int) -> None:
    """By itself, and not the first of the batch that it was found in."""

    async def work() -> None:
        sink = Receiver(lambda numbers: FORBIDDEN if 13 in numbers else None, size)
        bench = Line(sink, lanes=2, **USUAL)
        events = make_events(50)
        with capture_logs() as logs:
            bench.feed(events)
            await feed(bench, 60, every=0.5)
            await bench.stop()
        named = [line["id"] for line in logs if line["event"] == "event fails while others are delivered, retrying"]
        assert set(named) == {events[13].id}
        assert len(named) == 1, "once is enough"

    clock.run(work())


def test_a_batch_that_fails_with_what_no_event_can_cause_is_not_blamed_on_its_first_event() -> None:
    async def work() -> None:
        sink = Receiver(lambda numbers: EndpointDown("answered 503") if 13 in numbers else None, 25)
        bench = Line(sink, lanes=1, **USUAL)
        events = make_events(25)
        with capture_logs() as logs:
            bench.feed(events)
            await feed(bench, 60, every=0.5)
            await bench.stop()
        [line] = [line for line in logs if line["event"].endswith("fails while others are delivered, retrying")]
        assert line["event"].startswith("batch")
        assert (line["count"], line["first_id"], line["last_id"]) == (25, events[0].id, events[-1].id)

    clock.run(work())
