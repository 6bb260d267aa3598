"""In what order a stream's batches and the chunks merged into it come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

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
        self._next = iter(range(2, 100 * batches, 100))

    @property
    def ready(self) -> bool:
        return True

    def interrupt(self) -> None:
        raise AssertionError("nobody asked for it")

    async def read(self) -> Batch | None:
        time = next(self._next, None)
        if time is None:
            return None
        self.position = position(time + 99)
        return Batch([event(time + number) for number in range(100)], self.position)

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


async def test_changes_of_a_busy_stream_come_between_any_two_chunks() -> None:
    """So they keep their latency, however much there is to be sent of a collection; and that is not put off forever."""
    source = MergedSource(Busy(50), Endless())
    order: list[str] = []
    while (batch := await source.read()) is not None:
        order += [each.operation for each in batch.events]
    changes = [len(list(each)) for operation, each in groupby(order) if operation == "insert"]
    assert sum(changes) == 5000
    assert all(500 <= each <= 700 for each in changes[:-1])
    assert len(changes) >= 7
    assert "read, read" not in ", ".join(order)
