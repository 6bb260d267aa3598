"""Where a stretch of a stream ends: not too early, not too late, and never later than it must."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bson import Timestamp

from mess.capture.source import Batch, Unreadable
from mess.capture.tokens import position_after
from mess.event import Event, Position
from mess.replay.bounded_source import BoundedSource
from tests.unit.fakes import make_event

BASE = 1_700_000_000


def at(second: int, increment: int = 1) -> Timestamp:
    return Timestamp(BASE + second, increment)


def token(second: int, increment: int = 1) -> Position:
    return Position({"_data": f"82{BASE + second:08X}{increment:08X}BB"}, at(second, increment))


class Stream:
    """Gives these batches, then fails the test."""

    name = "shop"
    problem = "away"

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)
        self.closed = False

    async def read(self) -> Batch:
        return self.batches.pop(0)

    def position_after(self, event: Event) -> Position:
        return position_after(event)

    async def close(self) -> None:
        self.closed = True


async def read(last: Timestamp, *batches: Batch) -> tuple[list[Event], list[Position], int]:
    """The events of an excerpt, its positions, and how many batches of the stream were left."""
    stream = Stream(*batches)
    excerpt = BoundedSource(stream, last)
    events: list[Event] = []
    positions: list[Position] = []
    while (batch := await excerpt.read()) is not None:
        events += batch.events
        positions.append(batch.position)
    assert await excerpt.read() is None
    return events, positions, len(stream.batches)


def seconds(events: Sequence[Event]) -> list[int]:
    return [event.change["clusterTime"].time - BASE for event in events]


async def test_events_say_that_they_are_replayed() -> None:
    events, _, _ = await read(at(5), Batch([make_event(1), make_event(2)], token(2)), Batch([], token(6)))
    assert [event.replay for event in events] == [True, True]


async def test_an_event_behind_the_end_ends_it() -> None:
    """The batch is cut, and no more is read; the position is the end."""
    batches = Batch([make_event(1), make_event(2), make_event(3)], token(3)), Batch([], token(9))
    events, positions, left = await read(at(2), *batches)
    assert seconds(events) == [1, 2]
    assert (positions, left) == ([Position(None, at(2))], 1)


@pytest.mark.parametrize("position", [token(2), token(3)], ids=["at", "behind"])
async def test_a_quiet_stream_ends_as_soon_as_it_is_as_far(position: Position) -> None:
    _, _, left = await read(at(2), Batch([], token(1)), Batch([], position))
    assert left == 0


async def test_events_of_the_same_time_as_the_last_are_waited_for() -> None:
    """A transaction's events have one cluster time, and may come in two replies."""
    batches = Batch([make_event(2)], token(2)), Batch([make_event(2)], token(2)), Batch([], token(2))
    events, _, left = await read(at(2), *batches)
    assert (seconds(events), left) == ([2, 2], 0)


async def test_what_cannot_be_read_is_told_up_to_the_end() -> None:
    stream = Stream(Batch([], token(3), (Unreadable.at(token(2), "too large"), Unreadable.at(token(3), "too large"))))
    batch = await BoundedSource(stream, at(2)).read()
    assert batch is not None
    assert [each.position for each in batch.unreadable] == [token(2)]


async def test_an_unreadable_event_at_the_end_is_not_the_end() -> None:
    batches = Batch([], token(2), (Unreadable.at(token(2), "too large"),)), Batch([make_event(2)], token(2))
    events, _, left = await read(at(2), *batches, Batch([], token(2)))
    assert (seconds(events), left) == ([2], 0)


async def test_it_passes_for_its_stream() -> None:
    stream = Stream()
    excerpt = BoundedSource(stream, at(1))
    assert (excerpt.name, excerpt.problem) == ("shop", "away")
    await excerpt.close()
    assert stream.closed
