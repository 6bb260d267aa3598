"""A process that may not deliver calls no step, and records nothing of what became of events, until it may again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mess.errors import Ambiguous, EndpointDown, Refused
from mess.event import Event
from mess.leadership import Leadership, now
from mess.steps.base import Sink
from tests.unit.fakes import Recorder, make_event, make_events
from tests.unit.relay.line import Line

A_WHILE = 0.05
"""Seconds in which a delivery that is not held back is made many times over."""


def leading() -> Leadership:
    return Leadership(7, now() + 60)


def lapse(leadership: Leadership) -> None:
    leadership.extend(-math.inf)


def renew(leadership: Leadership) -> None:
    leadership.extend(now() + 60)


class Endpoint(Sink):
    """`answer` is called with each call's number, the first is 0, and may return what it raises."""

    def __init__(self, answer: Callable[[int], Exception | None]) -> None:
        self.answer = answer
        self.calls = 0

    async def deliver(self, events: Sequence[Event]) -> None:
        number, self.calls = self.calls, self.calls + 1
        await asyncio.sleep(0)
        if error := self.answer(number):
            raise error


async def test_without_a_lease_nothing_lapses() -> None:
    assert not Leadership(3).lapsed
    Leadership(3).check()


async def test_nothing_is_delivered_until_the_lease_is_renewed() -> None:
    leadership = leading()
    lapse(leadership)
    sink = Recorder()
    line = Line(sink, lanes=4, leadership=leadership)
    events = make_events(20)
    line.feed(events)
    await asyncio.sleep(A_WHILE)
    assert sink.calls == []
    renew(leadership)
    await line.until(20)
    assert len(sink.delivered) == 20


async def test_a_renewal_that_came_too_late_does_not_count() -> None:
    leadership = leading()
    lapse(leadership)
    sink = Recorder()
    line = Line(sink, leadership=leadership)
    line.feed(make_events(1))
    await asyncio.sleep(0.01)
    leadership.extend(now() - 0.001)
    await asyncio.sleep(A_WHILE)
    assert sink.calls == []
    renew(leadership)
    await line.until(1)


async def test_the_lease_lapses_by_itself() -> None:
    leadership = Leadership(7, now() + 0.03)
    sink = Recorder()
    line = Line(sink, leadership=leadership)
    line.feed([make_event(1)])
    await line.until(1)
    await asyncio.sleep(0.03)
    line.feed([make_event(2)])
    await asyncio.sleep(A_WHILE)
    assert len(sink.calls) == 1


async def test_stopping_ends_the_wait_at_once_with_nothing_delivered() -> None:
    leadership = leading()
    lapse(leadership)
    sink = Recorder()
    line = Line(sink, lanes=2, leadership=leadership)
    line.feed(make_events(10))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1):
        await line.stop()
    assert (sink.calls, line.delivered, line.errors) == ([], [], [])


@pytest.mark.parametrize(
    "error", [EndpointDown("down"), Ambiguous("maybe")], ids=["the probe of a sink that is down", "a retry"]
)
async def test_no_further_attempt_is_made_after_the_lease_has_lapsed(error: Exception) -> None:
    leadership = leading()

    def answer(call: int) -> Exception | None:
        if call == 0:
            lapse(leadership)
            return error
        return None

    sink = Endpoint(answer)
    line = Line(sink, lanes=2, leadership=leadership)
    line.feed([make_event(1)])
    await asyncio.sleep(A_WHILE)
    assert sink.calls == 1
    renew(leadership)
    await line.until(1)
    assert sink.calls == 2
    assert line.runner.trouble is None


async def test_a_probe_that_waits_for_the_lease_holds_no_other_back_afterwards() -> None:
    leadership = leading()

    def answer(call: int) -> Exception | None:
        if call == 0:
            lapse(leadership)
        return EndpointDown("down") if call < 8 else None

    sink = Endpoint(answer)
    line = Line(sink, lanes=4, leadership=leadership)
    line.feed(make_events(40))
    await asyncio.sleep(A_WHILE)
    calls = sink.calls
    await asyncio.sleep(A_WHILE)
    assert sink.calls == calls
    renew(leadership)
    await line.until(40)


@pytest.mark.parametrize("limit", [{"rate_limit": 50.0}, {"concurrency": 1}], ids=["a rate", "a concurrency"])
async def test_a_limited_step_looks_after_it_has_waited_for_its_turn(limit: dict[str, Any]) -> None:
    leadership = leading()

    def answer(call: int) -> None:
        if call == 0:
            lapse(leadership)

    sink = Endpoint(answer)
    line = Line(sink, lanes=4, leadership=leadership, **limit)
    line.feed(make_events(4))
    await asyncio.sleep(4 * A_WHILE)
    assert sink.calls == 1
    renew(leadership)
    await line.until(4)


async def test_a_step_that_was_paused_looks_when_the_pause_is_over() -> None:
    leadership = leading()
    sink = Recorder()
    line = Line(sink, leadership=leadership)
    line.runner.gate.close()
    line.feed(make_events(3))
    await asyncio.sleep(0.01)
    lapse(leadership)
    line.runner.gate.open()
    await asyncio.sleep(A_WHILE)
    assert sink.calls == []
    line.runner.gate.close()
    renew(leadership)
    await asyncio.sleep(A_WHILE)
    assert sink.calls == [], "it is paused again"
    line.runner.gate.open()
    await line.until(3)


async def test_each_request_of_a_step_that_sends_one_at_a_time_is_checked() -> None:
    """A mini-batch of 500 events to a slow endpoint takes longer than a lease."""
    leadership = leading()

    def answer(call: int) -> None:
        if call == 2:
            lapse(leadership)

    sink = Endpoint(answer)
    sink.max_events = 1
    line = Line(sink, leadership=leadership)
    line.feed(make_events(10))
    await asyncio.sleep(A_WHILE)
    assert sink.calls == 3
    renew(leadership)
    await line.until(10)


@pytest.mark.parametrize("on_failure", ["dead_letter", "skip"])
async def test_what_a_late_answer_refuses_is_recorded_only_with_the_lease(on_failure: str) -> None:
    """Another process may have delivered the event meanwhile."""
    leadership = leading()

    def answer(call: int) -> Exception:
        lapse(leadership)
        return Refused("no")

    line = Line(Endpoint(answer), leadership=leadership, on_failure=on_failure)
    line.feed([make_event(1)])
    await asyncio.sleep(A_WHILE)
    assert (line.letters.kept, line.letters.gaps, line.dropped) == ([], [], [])
    renew(leadership)
    await line.until(1)
    assert len(line.letters.kept or line.letters.gaps) == 1


async def test_an_answer_that_refuses_an_event_does_not_stop_a_relay_that_is_no_longer_active() -> None:
    leadership = leading()

    def answer(call: int) -> Exception:
        lapse(leadership)
        return Refused("no")

    line = Line(Endpoint(answer), leadership=leadership, on_failure="stop")
    line.feed([make_event(1)])
    await asyncio.sleep(A_WHILE)
    assert line.errors == []
    async with asyncio.timeout(1):
        await line.stop()
    assert (line.errors, line.dropped) == ([], [])


async def test_a_sink_that_finds_the_lease_lapsed_keeps_its_events_and_loses_no_attempt() -> None:
    leadership = leading()

    class Two(Sink):
        calls = sent = 0

        async def deliver(self, events: Sequence[Event]) -> None:
            self.calls += 1
            if self.calls == 1:
                lapse(leadership)
                asyncio.get_running_loop().call_later(A_WHILE, renew, leadership)
            self.leadership.check()
            self.sent += 1

    sink = Two()
    line = Line(sink, leadership=leadership, retry={"max_attempts": 1})
    line.feed([make_event(1)])
    await line.until(1)
    assert (sink.calls, sink.sent, line.letters.kept) == (2, 1, [])
