"""In what order a stream's batches and the chunks merged into it come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from bson import Timestamp

from mess.capture.merged_source import MergedSource, Placed
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

    async def read(self, at: Timestamp) -> Placed:
        return lambda place: Batch([event(at.time, "read")], place)

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


class Idle:
    """A stream without changes, whose token stays where it began."""

    name = "shop"
    problem = None
    ready = False

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.position = position(1)
        self.token_moves = asyncio.Event()
        self._interrupted = asyncio.Event()

    def interrupt(self) -> None:
        self._interrupted.set()

    async def read(self) -> Batch | None:
        waits = [asyncio.create_task(each.wait()) for each in (self.token_moves, self._interrupted)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        self._interrupted.clear()
        if self.token_moves.is_set():
            self.position = position(9)
        return Batch([], self.position)

    def position_after(self, event: Event) -> Position:
        raise AssertionError("there are none")

    async def close(self) -> None:
        return


class Failing:
    """One chunk, which can be read on the third attempt."""

    active = True

    def __init__(self) -> None:
        self.attempts = 0
        self.read_at_last = asyncio.Event()

    @property
    def wanted(self) -> bool:
        return self.attempts < 3

    async def read(self, at: Timestamp) -> Placed | None:
        self.attempts += 1
        if self.attempts < 3:
            return None
        self.read_at_last.set()
        return lambda place: Batch([event(at.time, "read")], place)

    def passed(self, events: Sequence[Event]) -> None:
        return


async def test_a_chunk_that_cannot_be_read_is_tried_again_before_its_place_is_known_and_waits_for_that() -> None:
    stream, chunks = Idle(), Failing()
    source = MergedSource(stream, chunks)
    came: list[Event] = []

    async def read() -> None:
        while not came and (batch := await source.read()) is not None:
            came.extend(batch.events)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(5):
        await chunks.read_at_last.wait()
        stream.interrupt()
        await asyncio.sleep(0.05)
        assert not came, "a token of the same time proves nothing"
        stream.token_moves.set()
        await reading
    assert [each.operation for each in came] == ["read"]
    assert chunks.attempts == 3


async def test_a_chunk_that_is_being_read_ends_with_its_source() -> None:
    class Slow(Failing):
        began, ended = asyncio.Event(), False

        async def read(self, at: Timestamp) -> Placed | None:
            self.began.set()
            try:
                await asyncio.sleep(60)
            finally:
                self.ended = True
            return None

    stream, chunks = Idle(), Slow()
    source = MergedSource(stream, chunks)
    reading = asyncio.create_task(source.read())
    async with asyncio.timeout(5):
        await chunks.began.wait()
        stream.interrupt()
        await reading
        assert not chunks.ended
        await source.close()
    assert chunks.ended
