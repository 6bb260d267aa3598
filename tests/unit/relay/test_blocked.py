"""A stream that cannot go on because of one event says so: which event, where it waits, and for how long."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs

from mess.capture.tokens import position_after
from mess.relay.blocked import BlockedStreamLog, blockage
from mess.relay.window import Window
from tests import clock
from tests.unit.fakes import make_event, make_events


def runner(window: Window, place: str | None = "step http of pipeline shop.orders") -> Any:
    lane = SimpleNamespace(locate=lambda event: place)
    return cast(Any, SimpleNamespace(name="shop", window=window, lanes=[lane]))


async def fill(window: Window) -> asyncio.Task[int]:
    """Fill a window whose first event is document 42 of orders; a further event waits for room."""
    await window.admit([make_event(0, key=42), *make_events(window.max_events - 1, first=1)])
    waiting = asyncio.create_task(window.admit(make_events(1, first=10_000)))
    await asyncio.sleep(0)
    return waiting


def test_a_full_stream_names_its_oldest_event_and_where_it_waits() -> None:
    async def work() -> None:
        window = Window(10_000, 10**9, position_after)
        waiting = await fill(window)
        await asyncio.sleep(9)
        assert blockage(runner(window)) is None, "it may still be under way"
        await asyncio.sleep(171)
        assert blockage(runner(window)) == (
            "stream shop is full (10,000 of 10,000 events); blocked for 3 min by step http of pipeline shop.orders; "
            f"oldest event {make_event(0).id}, orders 42"
        )
        waiting.cancel()

    clock.run(work())


def test_a_stream_may_also_be_full_by_its_bytes() -> None:
    async def work() -> None:
        window = Window(10_000, 2 * 1024**2, position_after)
        await window.admit(make_events(2, size=1024**2))
        waiting = asyncio.create_task(window.admit(make_events(1, first=5)))
        await asyncio.sleep(60)
        assert "stream shop is full (2.0 MiB of 2.0 MiB); blocked for 60 s" in str(blockage(runner(window)))
        waiting.cancel()

    clock.run(work())


def test_a_drop_that_waits_for_the_events_before_it_is_named_too() -> None:
    async def work() -> None:
        window = Window(10, 10**9, position_after)
        await window.admit([make_event(0, key="x" * 500)])
        waiting = asyncio.create_task(window.drained())
        await asyncio.sleep(60)
        found = str(blockage(runner(window)))
        assert "waits for the events before a drop" in found
        assert re.search(r"orders x{100}…$", found), "a long key is cut"
        waiting.cancel()

    clock.run(work())


def test_a_slow_stream_that_moves_is_not_blocked() -> None:
    async def work() -> None:
        window = Window(100, 10**9, position_after)
        events = make_events(100)
        await window.admit(events)
        waiting = asyncio.create_task(window.admit(make_events(50, first=10_000)))
        for event in events[:5]:
            await asyncio.sleep(9)
            window.done([event])
            assert blockage(runner(window)) is None
        await asyncio.sleep(11)
        assert blockage(runner(window)) is not None
        waiting.cancel()

    clock.run(work())


def test_it_is_logged_at_once_every_ten_minutes_and_when_it_is_over() -> None:
    async def work() -> list[Any]:
        window = Window(10, 10**9, position_after)
        waiting = await fill(window)
        with capture_logs() as logs:
            log = asyncio.create_task(BlockedStreamLog(SimpleNamespace(runners=[runner(window)])).run())
            await asyncio.sleep(1500)
            window.done([entry for entry in window._entries if entry is not None])  # type: ignore[misc]
            await asyncio.sleep(5)
            await waiting
            log.cancel()
        return logs

    logs = clock.run(work())
    assert [line["log_level"] for line in logs] == ["warning", "warning", "warning", "info"]
    assert "is full (10 of 10 events)" in logs[0]["event"]
    assert logs[-1]["event"] == "stream flows again"
