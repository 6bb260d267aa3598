"""What becomes of events when a step fails on them: in a pipeline, with its lanes."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mess.errors import Ambiguous, BatchError, EndpointDown, MessError, Refused, Response, Stopped
from mess.event import Event
from mess.steps.base import Sink, Transform
from tests.unit.fakes import Recorder, make_event, make_events
from tests.unit.relay.line import Line

SECOND = {"first": 1, "cap": 1}


def number(event: Event) -> int:
    found: int = event.change["fullDocument"]["n"]
    return found


def numbers(events: Sequence[Event]) -> list[int]:
    return [number(event) for event in events]


class Endpoint(Sink):
    """Takes events in requests of `size`; `answer` is asked about each request and may give an error for it."""

    def __init__(self, answer: Callable[[Sequence[Event]], Exception | None], size: int = 1) -> None:
        self.max_events = size
        self.answer = answer
        self.requests: list[list[int]] = []
        self.taken: list[Event] = []
        self.called = asyncio.Event()

    async def deliver(self, events: Sequence[Event]) -> None:
        self.requests.append(numbers(events))
        self.called.set()
        await asyncio.sleep(0)
        if error := self.answer(events):
            raise error
        self.taken.extend(events)

    async def calls(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.requests) < count:
                self.called.clear()
                await self.called.wait()


def failing_on(poison: int, error: Exception) -> Callable[[Sequence[Event]], Exception | None]:
    return lambda events: error if poison in numbers(events) else None


# Outages


@pytest.mark.parametrize("error", [EndpointDown("down"), Ambiguous("maybe")])
@pytest.mark.parametrize("size", [1, 500])
async def test_an_outage_is_waited_out_and_loses_nothing(error: Exception, size: int) -> None:
    failures = [error] * 50
    sink = Endpoint(lambda _: failures.pop() if failures else None, size)
    bench = Line(sink, lanes=4, retry={"max_attempts": 3})
    events = make_events(40)
    bench.feed(events)
    await bench.until(40)
    assert sorted(numbers(sink.taken)) == list(range(40))
    assert len(bench.delivered) == 40
    assert bench.letters.kept == []
    assert bench.runner.trouble is None


async def test_while_an_endpoint_is_down_one_lane_at_a_time_knocks() -> None:
    up = False
    sink = Endpoint(lambda _: None if up else EndpointDown("down"))
    bench = Line(sink, lanes=8)
    events = make_events(200)
    bench.feed(events)
    await sink.calls(30)
    # Eight lanes may have had a request under way when it went down; from then on each makes one probe in turn.
    lane_of = {event.change["fullDocument"]["n"]: event.ordering_key % 8 for event in events}
    turns = [lane_of[number] for [number] in sink.requests[8:24]]
    assert set(turns[:8]) == set(turns[8:]) == set(range(8)), "the lanes take turns"
    assert bench.runner.trouble == "down"
    up = True
    await bench.until(200)
    assert bench.runner.trouble is None
    assert sorted(numbers(sink.taken)) == list(range(200))


async def test_retry_after_is_kept_to_though_another_request_succeeds_meanwhile() -> None:
    answers: list[Exception | None] = [EndpointDown("busy", retry_after=0.05), None]
    sink = Endpoint(lambda _: answers.pop(0) if answers else None)
    bench = Line(sink, lanes=2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    one, other = (next(e for e in make_events(50) if bench_lane(bench, e) == lane) for lane in (0, 1))
    bench.feed([one, other])
    await bench.until(1)
    assert bench.runner.trouble == "busy"
    await bench.until(2)
    assert loop.time() - began >= 0.05


def bench_lane(bench: Line, event: Event) -> int:
    from mess.relay.dispatch import ordering_key

    return ordering_key(event, bench.order) % len(bench.lanes)


async def test_an_endpoint_that_answers_404_to_all_costs_no_event() -> None:
    sink = Endpoint(lambda _: EndpointDown("answered 404") if len(sink.requests) < 100 else None)
    bench = Line(sink, lanes=4)
    bench.feed(make_events(50))
    await bench.until(50)
    assert bench.letters.kept == []


async def test_an_event_that_alone_gets_a_down_answer_holds_no_other() -> None:
    """A firewall's 403, say: it is tried on and on, and never given up, while everything else flows."""
    sink = Endpoint(failing_on(0, EndpointDown("answered 403")))
    bench = Line(sink, lanes=2)
    bench.feed(make_events(100))
    await bench.until(99)
    assert 0 not in numbers(sink.taken)
    assert bench.letters.kept == []
    attempts = sink.requests.count([0])
    bench.feed(make_events(100, first=100))
    await bench.until(199)
    await sink.calls(200 + attempts)
    await bench.stop()


async def test_stopping_ends_the_wait_for_an_endpoint_at_once() -> None:
    sink = Endpoint(lambda _: EndpointDown("down", retry_after=200))
    bench = Line(sink, lanes=2)
    bench.feed(make_events(10))
    await sink.calls(2)
    async with asyncio.timeout(1):
        await bench.stop()
    assert (bench.delivered, bench.dropped, bench.errors) == ([], [], [])


# Poison


async def test_an_event_that_fails_while_others_get_through_is_given_up_on_and_holds_only_its_own_key() -> None:
    sink = Endpoint(failing_on(0, Ambiguous("500", response=Response(500, "boom"))))
    bench = Line(sink, retry={"max_attempts": 3})
    behind = [make_event(1000 + index, key=make_event(0).key["_id"]) for index in range(3)]  # type: ignore[index]
    bench.feed([*make_events(50), *behind])
    await bench.until(49)
    [letter] = await given_up(bench)
    assert (letter.id, letter.reason, letter.error) == (make_event(0).id, "500", "Ambiguous")
    assert letter.attempts >= 3
    assert {(attempt.reason, attempt.status, attempt.response) for attempt in letter.history} == {("500", 500, "boom")}
    assert len(letter.history) == min(10, letter.attempts)
    while make_event(1002).id not in {event.id for event in bench.delivered}:
        await bench.until(len(bench.delivered) + len(bench.dropped) + 1)
    assert numbers(sink.taken)[:49] == list(range(1, 50))
    assert [n for n in numbers(sink.taken) if 1000 <= n < 5000] == [1000, 1001, 1002]
    assert numbers(bench.dropped) == [0]


async def given_up(bench: Line) -> Any:
    """Let others through until the poison's attempts count."""
    next_one = 5000
    while not bench.letters.kept:
        bench.feed([make_event(next_one)])
        next_one += 1
        await asyncio.sleep(0.002)
    return bench.letters.kept


async def test_without_a_witness_an_ambiguous_failure_is_never_given_up() -> None:
    sink = Endpoint(lambda _: Ambiguous("500"))
    bench = Line(sink, retry={"max_attempts": 3})
    bench.feed(make_events(1))
    await sink.calls(20)
    assert bench.letters.kept == []
    assert bench.runner.trouble == "500"
    await bench.stop()


async def test_max_age_gives_up_even_without_a_witness() -> None:
    sink = Endpoint(lambda _: Ambiguous("500"))
    bench = Line(sink, retry={"max_age": 0.02})
    bench.feed(make_events(1))
    await bench.until(1)
    assert [letter.reason for letter in bench.letters.kept] == ["500"]


async def test_an_endpoint_that_fails_on_everything_is_not_asked_about_every_event() -> None:
    """Ten different events, then the endpoint is the suspect, and one event at a time probes it."""
    sink = Endpoint(lambda _: Ambiguous("500"))
    bench = Line(sink, lanes=1, probe={"first": 0.01, "cap": 0.01})
    bench.feed(make_events(500))
    await sink.calls(10)
    await asyncio.sleep(0.2)
    assert len(sink.requests) <= 10 + 21
    assert bench.runner.trouble == "500"
    sink.answer = lambda _: None
    await bench.until(500)


async def test_a_refused_event_becomes_a_dead_letter_at_once_and_the_others_go_on() -> None:
    bench = Line(Recorder(BatchError({1: Refused("bad number", response=Response(422, "x" * 1024))})))
    events = make_events(3)
    events[1].body = {"mapped": True}
    bench.feed(events)
    await bench.until(3)
    assert numbers(bench.delivered) == [0, 2]
    [letter] = bench.letters.kept
    assert (letter.id, letter.reason, letter.step, letter.attempts) == (events[1].id, "bad number", "step 0", 1)
    assert letter.event is events[1].change
    assert letter.body == {"mapped": True}
    [attempt] = letter.history
    assert (attempt.status, attempt.response, attempt.reason) == (422, "x" * 1024, "bad number")


async def test_a_batch_that_is_refused_is_halved_until_the_culprits_are_found() -> None:
    culprits = {3, 77, 78}
    sink = Endpoint(lambda events: Refused("bad") if culprits & set(numbers(events)) else None, size=100)
    bench = Line(sink)
    bench.feed(make_events(100))
    await bench.until(100)
    assert {letter.id for letter in bench.letters.kept} == {make_event(n).id for n in culprits}
    assert sorted(numbers(sink.taken)) == [n for n in range(100) if n not in culprits]
    assert len(sink.requests) < 50


async def test_a_batch_that_fails_ambiguously_is_halved_at_the_second_attempt_that_counts() -> None:
    """However many attempts an event has: without a witness it stays as it is, with its id."""
    sink = Endpoint(failing_on(7, Ambiguous("500")), size=20)
    bench = Line(sink, lanes=1, retry={"max_attempts": 6})
    bench.feed(make_events(20))
    await sink.calls(3)
    assert sink.requests[:3] == [list(range(20))] * 3, "no witness yet"
    [letter] = await given_up(bench)
    assert letter.id == make_event(7).id
    assert set(range(20)) - {7} <= set(numbers(sink.taken))
    sizes = [len(request) for request in sink.requests if 7 in request]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-6:] == [1] * 6, "the attempts of a batch are not its events'"


async def test_what_has_waited_behind_a_batch_goes_on_in_the_order_of_the_commits() -> None:
    failures = [Ambiguous("500")]
    sink = Endpoint(lambda _: failures.pop() if failures else None, size=10)
    bench = Line(sink, lanes=1, retry={"first": 0.05, "cap": 0.05})
    bench.feed([make_event(number, key=key) for number, key in enumerate("ab")])
    await sink.calls(1)
    bench.feed([make_event(number, key=key) for number, key in enumerate("abba", start=2)])
    await bench.until(6)
    assert sink.requests == [[0, 1], [0, 1], [2, 3, 4, 5]]


async def test_several_events_that_are_refused_one_by_one_are_each_given_up_on() -> None:
    sink = Recorder(BatchError({0: Refused("a"), 2: Refused("b")}))
    bench = Line(sink)
    bench.feed(make_events(3))
    await bench.until(3)
    assert [letter.reason for letter in bench.letters.kept] == ["a", "b"]
    assert len(sink.calls) == 1


async def test_any_other_exception_of_a_step_that_only_computes_is_the_events_fault() -> None:
    class Odd(Transform):
        def apply(self, event: Event) -> Event:
            raise ValueError("odd")

    bench = Line(Odd())
    bench.feed(make_events(1))
    await bench.until(1)
    assert bench.letters.kept[0].reason == "ValueError: odd"


async def test_any_other_exception_of_a_sink_is_tried_again_for_it_may_be_an_outage() -> None:
    """A parser that fails on what a proxy answers, say: it must not turn an outage into dead letters."""
    sink = Endpoint(lambda _: OverflowError("odd") if len(sink.requests) <= 100 else None)
    bench = Line(sink, lanes=4)
    bench.feed(make_events(60))
    await bench.until(60)
    assert bench.letters.kept == []
    assert sorted(numbers(sink.taken)) == list(range(60))


# The refusing step


async def test_a_step_that_refuses_a_hundred_in_a_row_is_held() -> None:
    refusing = True
    sink = Endpoint(lambda _: Refused("401, really") if refusing else None)
    bench = Line(sink, lanes=1)
    bench.feed(make_events(300))
    await sink.calls(150)
    assert len(bench.letters.kept) == 100
    assert bench.runner.trouble is not None
    assert "100 different events in a row" in bench.runner.trouble
    refusing = False
    await bench.until(300)
    assert len(bench.letters.kept) == 100
    assert sorted(numbers(sink.taken)) == list(range(100, 300))
    assert bench.runner.trouble is None


async def test_what_is_refused_beside_an_event_that_is_accepted_is_given_up_however_many() -> None:
    """Were some of them kept to be tried again, later events of their keys would have gone before them."""
    sink = Recorder(BatchError({number: Refused("too large") for number in range(9)}))
    bench = Line(sink, probe={"refusing_after": 3})
    bench.feed(make_events(10))
    await bench.until(10)
    assert len(bench.letters.kept) == 9
    assert len(sink.calls) == 1
    sink.failures.append(Refused("too large"))
    bench.feed(make_events(1, first=10))
    await bench.until(11)
    assert len(sink.calls) == 2, "nor is the next one held because of them"


async def test_one_success_between_shows_that_the_step_is_well() -> None:
    sink = Endpoint(lambda events: None if number(events[0]) % 50 == 0 else Refused("bad"))
    bench = Line(sink, lanes=1)
    bench.feed(make_events(500))
    await bench.until(500)
    assert len(bench.letters.kept) == 490


async def test_skip_drops_refused_events_however_many() -> None:
    bench = Line(Endpoint(lambda _: Refused("no")), on_failure="skip")
    bench.feed(make_events(300))
    await bench.until(300)
    assert (len(bench.dropped), bench.letters.kept) == (300, [])


async def test_stop_ends_the_relay_names_the_event_and_says_how_to_go_on() -> None:
    bench = Line(Recorder(Refused("no"), max_events=1), on_failure="stop")
    events = make_events(1)
    bench.feed(events)
    with pytest.raises(Stopped, match=rf"{events[0].id}.*`mess dead-letters replay`"):
        await bench.until(1)


# Order


class Moody(Endpoint):
    """Fails at random: on whole requests, or as a broker does, on all events of some documents."""

    def __init__(self, dice: random.Random, size: int) -> None:
        super().__init__(self._answer, size)
        self.dice = dice

    def _answer(self, events: Sequence[Event]) -> Exception | None:
        if self.dice.random() < 0.6:
            return None
        if self.dice.random() < 0.5:
            return self._error()
        documents = {document(event) for event in events if self.dice.random() < 0.2}
        failed = {index: self._error() for index, event in enumerate(events) if document(event) in documents}
        if failed:
            self.taken.extend(event for event in events if document(event) not in documents)
        return BatchError(failed) if failed else None

    def _error(self) -> Exception:
        return self.dice.choice([EndpointDown, Ambiguous])("x")


def document(event: Event) -> int:
    found: int = event.key["_id"]  # type: ignore[index]
    return found


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
async def test_each_documents_events_stay_in_order_whatever_fails(size: int, steps: int, seed: int) -> None:
    dice = random.Random(seed)
    sinks = [Moody(dice, size) for _ in range(steps)]
    bench = Line(*sinks, lanes=3, retry={"max_attempts": None})
    events = [make_event(n, key=dice.randrange(12)) for n in range(300)]
    for start in range(0, 300, 50):
        bench.feed(events[start : start + 50])
        await asyncio.sleep(0.003)
    await bench.until(300, timeout=20)
    assert len(bench.delivered) == len({event.id for event in bench.delivered}) == 300
    for sink in sinks:
        seen: dict[int, list[int]] = defaultdict(list)
        for event in sink.taken:
            seen[document(event)].append(number(event))
        assert all(counts == sorted(counts) for counts in seen.values())


async def test_a_retry_does_not_repeat_earlier_steps() -> None:
    class Count(Transform):
        def apply(self, event: Event) -> Event:
            event.body = {"times": event.body.get("times", 0) + 1}
            return event

    sink = Recorder(EndpointDown("down"), Ambiguous("maybe"))
    bench = Line(Count(), sink)
    bench.feed(make_events(2))
    await bench.until(2)
    assert [event.body for event in sink.delivered] == [{"times": 1}, {"times": 1}]


async def test_a_pipeline_tells_of_every_event_once_as_soon_as_it_is_done() -> None:
    class Odd(Transform):
        def apply(self, event: Event) -> Event | None:
            return event if number(event) % 2 else None

    sink = Recorder(max_events=1)
    bench = Line(Odd(), sink)
    bench.feed(make_events(6))
    await bench.until(6)
    assert (numbers(bench.dropped), numbers(bench.delivered)) == ([0, 2, 4], [1, 3, 5])
    assert [len(call) for call in sink.calls] == [1, 1, 1]


async def test_events_that_a_step_did_not_get_to_are_given_to_it_again() -> None:
    class Partial(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            self.calls.append(list(events))
            if len(self.calls) == 1:
                self.delivered += events[:1]
                raise BatchError({1: Ambiguous("late")}, passed=events[:1], untried=events[2:])
            self.delivered += events

    sink = Partial()
    bench = Line(sink)
    bench.feed(make_events(4))
    await bench.until(4)
    assert [numbers(call) for call in sink.calls] == [[0, 1, 2, 3], [2, 3], [1]]


async def test_a_step_that_returns_a_foreign_event_is_a_mistake_that_is_named() -> None:
    class Foreign(Transform):
        def apply(self, event: Event) -> Event:
            return make_events(1)[0]

    bench = Line(Foreign())
    bench.feed(make_events(1))
    with pytest.raises(MessError, match="not given"):
        await bench.until(1)


# Bounds


async def test_a_step_is_given_no_more_events_in_a_second_than_it_asks_for() -> None:
    sink = Endpoint(lambda _: None)
    bench = Line(sink, lanes=4, rate_limit=500)
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench.feed(make_events(50))
    await bench.until(50)
    assert loop.time() - began >= 49 / 500


async def test_no_more_deliveries_run_at_a_time_than_the_step_asks_for() -> None:
    running = most = 0

    class Counting(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    bench = Line(Counting(max_events=1), lanes=8, concurrency=3)
    bench.feed(make_events(60))
    await bench.until(60)
    assert most == 3


# Health at the start


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (EndpointDown("the certificate has expired; renew it"), "the certificate has expired; renew it"),
        (KeyError("what no step foresees"), "KeyError: 'what no step foresees'"),
        (TimeoutError(), "no answer within 30 s"),
    ],
)
async def test_what_a_check_finds_at_the_start_is_known_until_the_step_works(error: Exception, trouble: str) -> None:
    class Unwell(Recorder):
        async def check(self) -> str | None:
            raise error

    bench = Line(Unwell())
    work = asyncio.create_task(bench.runner.check())
    await asyncio.sleep(0)
    assert bench.runner.trouble == trouble
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    bench.feed(make_events(1))
    await bench.until(1)
