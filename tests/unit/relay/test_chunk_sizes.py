"""How many documents a chunk has: as many as the sinks take in little more time than they take for a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import bson
import pytest
from bson import Timestamp

from mess.capture.existing_documents import Chunk, ReadEvent
from mess.event import Namespace, Position
from mess.relay import backfill_job
from mess.relay.backfill_job import BackfillJob
from mess.relay.chunk_size import MOST
from mess.state.backfills import Backfill

NAMESPACE = Namespace("shop", "orders")
PLACE = Position(None, Timestamp(5, 1))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Documents:
    """A collection without an end, whose documents take `seconds` to read and to deliver, given how many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked: list[int] = []

    async def read(self, at: Timestamp, after: bytes | None, most: int, max_bytes: int) -> Chunk:
        self.asked.append(most)
        self._clock.now += 0.001
        number = len(self.asked)
        events = [ReadEvent({"operationType": "read"}, NAMESPACE, 300, id=f"{number}-{index}") for index in range(most)]
        return Chunk(events, (), last=bson.encode({"_id": number}), count=most, size=300 * most)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(backfill_job, "time", found)
    return found


async def sizes(clock: Clock, takes: Sequence[Callable[[int], float]], **options: Any) -> list[int]:
    """The sizes of chunks, of which each takes as many seconds as the next of `takes` says."""
    record = Backfill("bf_1", NAMESPACE, "operator", datetime.now(timezone.utc), **options)
    documents = Documents(clock)
    made: Any = documents
    job = BackfillJob(
        record, made, since=lambda: Timestamp(1, 1), changed=lambda: None, count=lambda count: None, average=300
    )
    for seconds in takes:
        placed = await job.read(Timestamp(5, 1))
        assert placed is not None
        batch = placed(PLACE)
        assert batch is not None
        assert batch.reached is not None
        clock.now += seconds(len(batch.events))
        batch.reached()
    return documents.asked


async def test_a_sink_that_takes_long_for_anything_gets_large_chunks(clock: Clock) -> None:
    """A batch of 500 takes as long to a distant endpoint as one of 10: small ones would only waste that time."""
    found = await sizes(clock, [lambda count: 0.1 + count * 0.00001] * 15)
    assert found[0] <= 10
    assert found[-1] == MOST


async def test_a_sink_that_takes_long_for_many_gets_small_chunks(clock: Clock) -> None:
    """Changes behind them would wait for all of them."""
    found = await sizes(clock, [lambda count: count * 0.001] * 30)
    assert all(each <= 40 for each in found[5:])


async def test_after_a_hiccup_and_when_the_sink_becomes_slower_for_good(clock: Clock) -> None:
    quick = [lambda count: 0.002 + count * 0.00001] * 15
    slow = [lambda count: 0.2 + count * 0.00001] * 30
    found = await sizes(clock, [*quick, lambda count: 3.0, *quick, *slow])
    assert found[14] == MOST
    assert found[30] == MOST
    assert found[-1] == MOST


async def test_documents_with_a_rate_come_in_chunks_of_a_second_at_most(clock: Clock) -> None:
    assert max(await sizes(clock, [lambda count: 0.0001] * 8, rate=40.0)) == 40
