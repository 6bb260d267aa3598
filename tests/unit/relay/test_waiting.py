"""What waits in a pipeline, wherever it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from mess.capture.tokens import position_after
from mess.errors import Ambiguous, EndpointDown
from mess.event import Event, Position
from mess.relay.runner import StreamRunner
from mess.relay.waiting import waiting
from mess.relay.window import Window
from mess.telemetry.snapshot import PipelineStatus
from tests.unit.fakes import Recorder, make_event, make_events
from tests.unit.relay.line import QUICK, Line
from tests.waiting import until

NOW = 1_700_000_100.0


class Stream:
    """A stream's window and lanes, as a runner has them."""

    def __init__(self, line: Line) -> None:
        self.window = Window(1000, 10**6, position_after)
        self.lanes = line.lanes

    def waits(self) -> PipelineStatus:
        """What waits in its pipeline."""
        [status] = waiting(["default"], [cast(StreamRunner, self)], NOW)
        return status


async def _admitted(stream: Stream, line: Line, events: list[Event]) -> None:
    assert await stream.window.admit(events) == len(events)
    line.feed(events)


async def test_nothing_is_known_before_the_first_event() -> None:
    """A pipeline that no stream has lanes for has no lag."""
    assert waiting(["default"], [], NOW) == [PipelineStatus("default", 0, 0, None)]


async def test_events_are_counted_in_lanes_and_in_steps() -> None:
    """Each once, with its bytes; the oldest determines the lag."""
    gate = asyncio.Event()

    class Slow(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            await gate.wait()

    line = Line(Slow(max_events=1), **QUICK)
    stream = Stream(line)
    await _admitted(stream, line, make_events(20, first=10, size=100))
    await asyncio.sleep(0)
    assert 0 < len(line.lanes[0].events) < 20
    assert stream.waits() == PipelineStatus("default", 20, 2000, 90.0)
    gate.set()
    await line.until(20)
    stream.window.done(line.delivered)
    assert stream.waits().events == stream.waits().bytes == 0


@pytest.mark.parametrize("failure", [EndpointDown("away"), Ambiguous("why")])
async def test_events_that_have_failed_are_counted_until_they_are_through(failure: Exception) -> None:
    """While the breaker is open, and while they are to be retried; later events of other documents may pass."""
    long = {"first": 60, "cap": 60}
    line = Line(Recorder(failure, max_events=1), retry=long, probe=long)
    stream = Stream(line)
    await _admitted(stream, line, make_events(3, first=5))
    passing = 2 if isinstance(failure, Ambiguous) else 0
    await until(lambda: line.runner.trouble or len(line.delivered) == passing, "the failure")
    await until(lambda: len(line.delivered) == passing, "the others")
    stream.window.done(line.delivered)
    assert stream.waits() == PipelineStatus("default", 3 - passing, 100 * (3 - passing), 95.0)
    await line.stop()


async def test_a_pipeline_without_waiting_events_is_as_late_as_its_stream_was_read() -> None:
    """Another pipeline may hold the stream up: then this one's next events are late, too."""
    line = Line(Recorder(), **QUICK)
    stream = Stream(line)
    await _admitted(stream, line, [make_event(5)])
    await line.until(1)
    stream.window.done(line.delivered)
    assert stream.waits() == PipelineStatus("default", 0, 0, 95.0)
    stream.window.mark(Position(None, make_event(99).change["clusterTime"]))
    assert stream.waits().lag == 1.0
