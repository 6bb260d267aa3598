"""Change streams as the tests read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bson import Timestamp

from mess.capture import client as mongodb
from mess.capture.plan import StreamPlan, plan
from mess.capture.source import Batch, LostHistory, Unreadable
from mess.capture.start import time_now
from mess.capture.stream import ChangeStream
from mess.config.model import Config
from mess.event import Event, Position

PATIENCE = 30.0


class Reader:
    """A change stream, and all that was read from it."""

    def __init__(self, stream: ChangeStream, begin: Position) -> None:
        self.stream = stream
        self.begin = begin
        self.position: Position | None = None
        self.events: list[Event] = []
        self.unreadable: list[Unreadable] = []
        self.lost: list[LostHistory] = []
        self.batches: list[Batch] = []

    async def read(self) -> Batch:
        """One batch."""
        async with asyncio.timeout(PATIENCE):
            batch = await self.stream.read()
        self.batches.append(batch)
        self.events.extend(batch.events)
        self.unreadable.extend(batch.unreadable)
        self.lost.extend([batch.lost] if batch.lost else [])
        self.position = batch.position
        return batch

    async def until(self, enough: Callable[[], bool]) -> None:
        """Read until `enough()`. Raises AssertionError when that takes too long."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not enough():
                    await self.read()
        except TimeoutError:
            raise AssertionError(f"read only {self.events} {self.unreadable}") from None

    async def take(self, count: int) -> list[Event]:
        """All events so far, as soon as there are `count`."""
        await self.until(lambda: len(self.events) >= count)
        return self.events

    async def take_to(self, key: Any) -> list[Event]:
        """All events so far, as soon as one of the document `key` is among them: what was not wanted has been left
        out by then."""
        await self.until(lambda: any(event.key == {"_id": key} for event in self.events))
        return self.events


class Watching:
    """Opens change streams for configs, with one driver."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def plans(self, databases: dict[str, Any], **top: Any) -> list[StreamPlan]:
        """The streams that a config asks for."""
        return plan(Config.model_validate({"databases": databases, "pipeline": ["log"], **top}))

    @asynccontextmanager
    async def open(
        self,
        databases: dict[str, Any],
        position: Position | None = None,
        *,
        latest: Timestamp | None = None,
        on_history_lost: str = "stop",
        **top: Any,
    ) -> AsyncIterator[Reader]:
        """The one stream that a config asks for, at `position` (default: now)."""
        [found] = self.plans(databases, **top)
        begin = position or Position(None, await time_now(self.client))
        stream = ChangeStream(self.client, found, begin, latest=latest, on_history_lost=on_history_lost)
        try:
            yield Reader(stream, begin)
        finally:
            await stream.close()


@asynccontextmanager
async def watching(url: str, driver: str = "pymongo") -> AsyncIterator[Watching]:
    """The same, on a client of one's own."""
    client = mongodb.connect(url, driver, sticky=True)
    try:
        yield Watching(client)
    finally:
        await mongodb.close(client)
