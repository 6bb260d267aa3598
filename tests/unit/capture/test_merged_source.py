"""In what order a stream's batches and the chunks merged into it come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bson import Timestamp

from mess.capture.merged_source import MergedSource
from mess.capture.source import Batch
from mess.event import Event, Namespace, Position

SHOP = Namespace("shop", "orders")


def position(time: int) -> Position:
    return Position({"_data": f"{time:08X}"}, Timestamp(time, 1))


def event(time: int, operation: str = "insert") -> Event:
    change = {"_id": {"_data": f"{time:08X}"}, "operationType": operation, "clusterTime": Timestamp(time, 1)}
    return Event({**change, "documentKey": {"_id": time}}, SHOP)


class Busy:
    """A stream that has always more to read."""

    name = "shop"
    problem = None

    def __init__(self, batches: int) -> None:
        self.connected = asyncio.Event()
        self.position = position(1)
        self._next = iter(range(2, batches + 2))

    @property
    def ready(self) -> bool:
        return True

    def interrupt(self) -> None:
        raise AssertionError("nobody asked for it")

    async def read(self) -> Batch | None:
        time = next(self._next, None)
        if time is None:
            return None
        self.position = position(time)
        return Batch([event(time)], self.position)

    def position_after(self, event: Event) -> Position:
        return position(event.change["clusterTime"].time)

    async def close(self) -> None:
        return


class Endless:
    """Chunks without an end, each wanted at once."""

    wanted = active = True

    async def read(self, at: Timestamp, place: Position) -> Batch | None:
        return Batch([event(at.time, "read")], place)

    def passed(self, events: Sequence[Event]) -> None:
        return


async def test_at_most_one_chunk_comes_between_two_batches_of_a_busy_stream() -> None:
    """So changes keep their latency, however much there is to be sent of a collection."""
    source = MergedSource(Busy(20), Endless())
    order = []
    while (batch := await source.read()) is not None:
        order += [each.operation for each in batch.events]
    assert order == ["read", "insert"] * 20
