"""The user's functions: whatever they do, the relay lives."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from mess.errors import Ambiguous, BatchError, EndpointDown, Refused
from mess.leadership import Leadership, now
from mess.steps.function import FunctionStep
from tests.unit.fakes import make_events


@asynccontextmanager
async def opened(function: Callable[..., Any], **options: Any) -> AsyncIterator[FunctionStep]:
    step = FunctionStep(function, {"factor": 2}, {"name": "mess"}, **options)
    await step.open()
    try:
        yield step
    finally:
        await step.close()


def double(input: Any, config: Any, context: Any) -> Any:  # noqa: A002 - the name that users know
    return {"n": input["fullDocument"]["n"] * config["factor"], "relay": context["name"]}


async def double_later(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
    await asyncio.sleep(0)
    return double(input, config, context)


@pytest.mark.parametrize("function", [double, double_later, lambda i, c, x: double_later(i, c, x)])
async def test_sync_and_async_functions_give_the_new_body(function: Callable[..., Any]) -> None:
    async with opened(function) as step:
        events = make_events(3)
        assert await step.process(events) == events
        assert [event.body for event in events] == [{"n": n * 2, "relay": "mess"} for n in range(3)]


async def test_none_drops_the_event() -> None:
    async with opened(lambda i, c, x: i if i["fullDocument"]["n"] else None) as step:
        events = make_events(2)
        assert await step.process(events) == events[1:]


async def test_what_a_function_does_to_its_input_does_not_reach_the_change_event() -> None:
    def vandal(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        input["fullDocument"]["n"] = "spoilt"
        input.clear()
        raise ValueError("and then it fails")

    async with opened(vandal) as step:
        events = make_events(1)
        with pytest.raises(BatchError) as caught:
            await step.process(events)
        assert "ValueError: and then it fails (test_function.py:" in str(caught.value.errors[0])
        assert events[0].body is events[0].change
        assert events[0].change["fullDocument"]["n"] == 0


@pytest.mark.parametrize("result", [[1], "text", 7, True])
async def test_a_wrong_type_is_refused_and_named(result: Any) -> None:
    async with opened(lambda i, c, x: result) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(1))
        assert isinstance(caught.value.errors[0], Refused)
        assert type(result).__name__ in str(caught.value.errors[0])


async def test_one_bad_event_does_not_spoil_the_others() -> None:
    def picky(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        if input["fullDocument"]["n"] == 1:
            sys.exit("no")
        return input

    async with opened(picky) as step:
        events = make_events(3)
        with pytest.raises(BatchError) as caught:
            await step.process(events)
        assert list(caught.value.errors) == [1]
        assert caught.value.passed == [events[0], events[2]]


async def test_a_function_may_say_that_its_sink_is_down() -> None:
    def down(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        raise EndpointDown("later", retry_after=3)

    async with opened(down) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(1))
        assert isinstance(caught.value.errors[0], EndpointDown)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_call_that_takes_too_long_is_ambiguous_and_the_loop_turns_meanwhile(kind: str) -> None:
    gone = threading.Event()

    def hang(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        if input["fullDocument"]["n"] == 1:
            gone.wait(5)
        return input

    async def hang_async(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        return hang(input, config, context)

    async with opened(hang if kind == "sync" else hang_async, timeout=0.1) as step:
        events = make_events(3)
        work = asyncio.create_task(step.process(events))
        turns = 0
        while not work.done():
            await asyncio.sleep(0.005)
            turns += 1
        assert turns > 5, "the relay's own loop was not blocked"
        with pytest.raises(BatchError) as caught:
            await work
        gone.set()
        assert caught.value.passed == events[:1]
        assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Ambiguous}
        assert caught.value.untried == events[2:]


async def test_slow_but_in_time_is_delivered() -> None:
    def slow(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        time.sleep(0.05)
        return input

    async with opened(slow, timeout=1) as step:
        events = make_events(2)
        assert await step.process(events) == events


async def test_a_hook_takes_item_and_context_and_what_it_returns_is_ignored() -> None:
    seen: list[tuple[Any, Any]] = []

    def hook(item: Any, context: Any) -> Any:
        seen.append((item["operationType"], context["name"]))
        return True

    async with opened(hook, hook=True) as step:
        events = make_events(1)
        assert await step.process(events) == events
        assert seen == [("insert", "mess")]


async def test_functions_get_dates_with_their_time_zone_however_deep() -> None:
    seen: list[Any] = []

    def look(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        seen.append(input)
        return input

    moment = datetime(2026, 11, 23, 10, 0)
    [event] = make_events(1)
    event.change["fullDocument"]["at"] = {"created": [moment]}
    async with opened(look) as step:
        await step.process([event])
    assert seen[0]["fullDocument"]["at"]["created"] == [moment.replace(tzinfo=timezone.utc)]
    assert event.change["fullDocument"]["at"]["created"] == [moment]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_no_further_call_begins_after_the_lease_has_lapsed(asynchronous: bool) -> None:
    """A mini-batch of slow calls takes longer than a lease. Those that were made are done."""
    leadership, called = Leadership(1, now() + 60), list[int]()

    def function(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        called.append(input["fullDocument"]["n"])
        if len(called) == 3:
            leadership.until = -math.inf
        return input

    async def later(input: Any, config: Any, context: Any) -> Any:  # noqa: A002
        return function(input, config, context)

    events = make_events(10)
    async with opened(later if asynchronous else function) as step:
        step.leadership = leadership
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert called == [0, 1, 2]
    assert caught.value.passed == events[:3]
    assert {index: type(error) for index, error in caught.value.errors.items()} == {3: EndpointDown}
    assert list(caught.value.untried) == events[4:]
