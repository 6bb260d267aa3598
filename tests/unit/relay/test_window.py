"""The window: bounded, and its position never passes an unfinished event."""

from __future__ import annotations

import asyncio

import pytest

from mess.capture.tokens import position_after
from mess.event import Position
from mess.relay.window import Window
from tests.unit.fakes import make_events


def reached(window: Window) -> str | None:
    position = window.position
    return None if position is None or position.token is None else position.token["_data"]


async def test_position_waits_for_the_oldest_unfinished_event() -> None:
    window = Window(10, 10_000, position_after)
    first, second, third = make_events(3)
    await window.admit([first, second, third])
    window.done([second, third])
    assert window.position is None
    window.done([first])
    assert reached(window) == third.change["_id"]["_data"]
    assert len(window) == 0
    assert window.bytes == 0


async def test_a_mark_counts_only_behind_all_events_before_it() -> None:
    window = Window(10, 10_000, position_after)
    [event] = make_events(1)
    await window.admit([event])
    window.mark(Position({"_data": "behind"}, None))
    assert window.position is None
    window.done([event])
    assert reached(window) == "behind"


async def test_an_idle_stream_moves_by_marks_alone() -> None:
    window = Window(10, 10_000, position_after)
    window.mark(Position({"_data": "a"}, None))
    assert reached(window) == "a"
    assert window.finished == 0


async def test_it_admits_no_more_events_than_it_holds() -> None:
    window = Window(4, 10_000, position_after)
    events = make_events(6)
    assert await window.admit(events) == 4
    waiting = asyncio.create_task(window.admit(events[4:]))
    await asyncio.sleep(0)
    assert not waiting.done()
    window.done(events[:4])
    assert await waiting == 2


async def test_it_admits_no_more_bytes_than_it_holds() -> None:
    window = Window(100, 250, position_after)
    events = make_events(3, size=100)
    assert await window.admit(events) == 2
    waiting = asyncio.create_task(window.admit(events[2:]))
    await asyncio.sleep(0)
    assert not waiting.done()
    window.done(events[:2])
    assert await waiting == 1


async def test_an_event_larger_than_the_window_is_admitted_alone() -> None:
    window = Window(100, 250, position_after)
    small, large = make_events(1, size=100) + make_events(1, size=1000, first=1)
    assert await window.admit([small]) == 1
    waiting = asyncio.create_task(window.admit([large]))
    await asyncio.sleep(0)
    assert not waiting.done()
    window.done([small])
    assert await waiting == 1


async def test_drained_returns_when_nothing_is_unfinished() -> None:
    window = Window(10, 10_000, position_after)
    events = make_events(2)
    await window.admit(events)
    waiting = asyncio.create_task(window.drained())
    window.done(events[1:])
    await asyncio.sleep(0)
    assert not waiting.done()
    window.done(events[:1])
    await waiting


@pytest.mark.parametrize(
    "finish", [lambda n: range(n), lambda n: reversed(range(n)), lambda n: [*range(1, n, 2), *range(0, n, 2)]]
)
async def test_any_order_of_finishing_ends_at_the_last_event(finish) -> None:  # type: ignore[no-untyped-def]
    window = Window(100, 100_000, position_after)
    events = make_events(20)
    await window.admit(events)
    for index in finish(20):
        window.done([events[index]])
        unfinished = [i for i, event in enumerate(events) if not event.done]
        expected = (unfinished[0] if unfinished else 20) - 1
        assert reached(window) == (events[expected].change["_id"]["_data"] if expected >= 0 else None)
