"""Backfills of a relay that runs in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timezone
from typing import Any

from mess.cancellation import cancel
from mess.event import Namespace
from mess.state.backfills import Backfill, new_id
from mess.state.store import StateStore
from mess.stores import store_for
from tests.integration.relay.conftest import Lab
from tests.receiver import Delivered, Receiver
from tests.waiting import PATIENCE, until

OFTEN = {"interval": "50ms"}


class Backfills:
    """The records of a lab's backfills, as its running relay stores them, or those of `options` without one."""

    def __init__(self, lab: Lab, **options: Any) -> None:
        self._lab = lab
        self._options = options
        self.records: list[Backfill] = []

    async def look(self) -> list[Backfill]:
        """All records."""
        async with self._store() as store:
            self.records = await store.backfills()
        return self.records

    async def add(self, collection: str, *, database: str | None = None, **fields: Any) -> str:
        """Ask for a collection; its id."""
        namespace = Namespace(database or self._lab.db.name, collection)
        made = Backfill(new_id(), namespace, "operator", datetime.now(timezone.utc), **fields)
        async with self._store() as store:
            assert await store.add_backfill(made)
        return made.id

    async def want(self, id_: str, wanted: str) -> None:
        """Pause, resume or cancel one."""
        async with self._store() as store:
            assert await store.want_backfill(id_, wanted)

    async def reaches(self, id_: str, state: str, timeout: float = PATIENCE) -> Backfill:
        """The record, when it has this state."""
        return await self.until(id_, lambda record: record.progress.state == state, state, timeout)

    async def until(
        self, id_: str, condition: Callable[[Backfill], bool], what: str, timeout: float = PATIENCE
    ) -> Backfill:
        """The record, when it fulfils a condition."""
        found: Backfill | None = None
        async with self._store() as store:
            try:
                async with asyncio.timeout(timeout):
                    while found is None or not condition(found):
                        await asyncio.sleep(0.02)
                        [found] = [each for each in await store.backfills() if each.id == id_]
            except TimeoutError:
                raise AssertionError(f"not in time: {what}; it is {found and found.progress}") from None
        return found

    def _store(self) -> AbstractAsyncContextManager[StateStore]:
        return store_for(self._lab.relay(**self._options).config)


class Arrived:
    """What a receiver has accepted, each request parsed once."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parsed = 0
        self._events: list[Delivered] = []

    @property
    def events(self) -> list[Delivered]:
        """All events, in the order of their arrival."""
        new = self._receiver.requests[self._parsed :]
        self._parsed += len(new)
        self._events += [event for request in new for event in request.events if event.status == 200]
        return self._events

    def ids(self, operation: str = "read", collection: str | None = None) -> list[Any]:
        """The documents' `_id`s."""
        return [
            event.body["documentKey"]["_id"]
            for event in self.events
            if event.body["operationType"] == operation and collection in (None, event.body["ns"]["coll"])
        ]

    async def all_read(self, expected: set[Any], collection: str | None = None, timeout: float = PATIENCE) -> None:
        """Return when these existing documents have arrived."""
        await until(
            lambda: expected <= set(self.ids(collection=collection)),
            lambda: f"only {len(set(self.ids(collection=collection)))} of {len(expected)} arrived",
            timeout,
        )


def batched(lab: Lab) -> dict[str, Any]:
    """An entry of a pipeline that sends many events in a request."""
    return {**lab.http, "config": {**lab.http["config"], "batch": {"max_events": 50}}}


@asynccontextmanager
async def ticking(lab: Lab) -> AsyncIterator[None]:
    """Something that is not watched is written all the time, so that the stream's position moves."""

    async def tick() -> None:
        while True:
            await asyncio.to_thread(lab.db.client["not-watched"].ticks.insert_one, {})
            await asyncio.sleep(0.1)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        await cancel(task)


def fill(lab: Lab, collection: str = "orders", count: int = 100, first: int = 0, **fields: Any) -> set[int]:
    """Write documents before a relay runs; their `_id`s."""
    lab.db[collection].insert_many([{"_id": number, "n": number, **fields} for number in range(first, first + count)])
    return set(range(first, first + count))
