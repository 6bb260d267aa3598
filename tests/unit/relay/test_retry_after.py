"""A sink that says how long it wants to be left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mess.config.model import Probe
from mess.errors import EndpointDown
from mess.event import Event
from mess.relay.breaker import CircuitBreaker, Result
from mess.relay.retry import Verdict
from mess.relay.stopping import Stopping
from mess.steps.base import Sink
from tests import clock
from tests.unit.fakes import make_event
from tests.unit.relay.line import Line

Answer = tuple[float, EndpointDown | None]
"""After so many seconds, what."""


class Busy(Sink):
    """Gives each event its answers, one after another, and then accepts it. `began` is when each request did."""

    max_events = 1

    def __init__(self, answers: dict[int, list[Answer]]) -> None:
        self.answers = answers
        self.began: list[tuple[float, int]] = []
        self._start = time.monotonic()

    async def deliver(self, events: Sequence[Event]) -> None:
        number = events[0].change["fullDocument"]["n"]
        self.began.append((round(time.monotonic() - self._start, 1), number))
        answers = self.answers.get(number)
        after, error = answers.pop(0) if answers else (0.0, None)
        await asyncio.sleep(after)
        if error is not None:
            raise error


def requests(answers: dict[int, list[Answer]], count: int, **spec: Any) -> list[tuple[float, int]]:
    """When the requests with so many events begin, each of which has a lane of its own; all are delivered."""

    async def work() -> list[tuple[float, int]]:
        sink = Busy(answers)
        bench = Line(sink, lanes=count, **spec)
        for number, lane in enumerate(bench.lanes):
            event = make_event(number)
            event.ordering_key = number
            lane.events.append(event)
            lane.wake()
        await bench.until(count, timeout=1000)
        await bench.stop()
        assert bench.letters.kept == []
        return sink.began

    return clock.run(work())


def busy(seconds: float) -> EndpointDown:
    return EndpointDown("answered 429", retry_after=seconds)


def test_the_longest_of_several_answers_holds() -> None:
    """Also when it comes while the others wait already; and what was under way, and succeeds, ends no wait."""
    answers = {0: [(0.0, busy(10))], 1: [(5.0, busy(20))], 2: [(9.0, None)]}
    began = requests(answers, 4)
    assert all(when == 0 or when >= 25 for when, _ in began), began


def test_a_probe_that_succeeds_while_another_answer_holds_leaves_nobody_waiting() -> None:
    answers = {0: [(0.0, busy(10))], 1: [(10.5, busy(20))], 2: []}
    answers[0].append((1.0, None))
    began = requests(answers, 4)
    assert all(when in (0, 10) or when >= 30.5 for when, _ in began), began


def test_an_event_that_alone_gets_such_an_answer_waits_as_long() -> None:
    answers = {0: [(0.0, busy(10)), (0.0, busy(10))], 1: [(1.0, None)]}
    assert [when for when, number in requests(answers, 2) if number == 0] == [0, 10, 20]


def test_what_waits_for_its_turn_by_a_rate_limit_is_not_sent_meanwhile() -> None:
    began = requests({0: [(0.0, busy(60))]}, 4, rate_limit=1)
    assert [when for when, _ in began][:2] == [0, 60]
    assert all(later - earlier >= 1 for (earlier, _), (later, _) in pairwise(began))


def test_a_probe_that_waits_for_its_turn_by_a_rate_limit_is_put_off_too() -> None:
    answers = {0: [(3.0, busy(0.5))], 1: [(2.0, busy(20))]}
    began = requests(answers, 2, rate_limit=0.4)
    assert all(when <= 2.5 or when >= 24.5 for when, _ in began), began


def test_who_waits_is_not_let_go_by_a_success_that_such_an_answer_follows_at_once() -> None:
    async def work() -> list[float]:
        breaker = CircuitBreaker(Probe(), Stopping())
        start = time.monotonic()
        turns: list[float] = []

        async def wait() -> None:
            await breaker.acquire()
            turns.append(round(time.monotonic() - start, 1))

        breaker.report(Result(error=busy(1), verdict=Verdict.HOLD))
        first, second = (asyncio.create_task(wait()) for _ in range(2))
        await first
        breaker.report(Result(accepted=1))
        breaker.report(Result(error=busy(9), verdict=Verdict.HOLD))
        await second
        return turns

    assert clock.run(work()) == [1, 10]
