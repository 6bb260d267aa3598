"""Backfills in MongoDB: one document each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from mess.state.backfills import ENDED, Backfill, BackfillProgress, remedy
from mess.state.failover import persist
from mess.state.mongo_queries import ago, name_of
from mess.state.records import damaged
from mess.state.store import superseded

T = TypeVar("T")


class MongoBackfills:
    """The backfills of one relay. Their `generation` is the newest epoch that has seen them."""

    def __init__(self, backfills: Any, relay: str, retry_for: float, place: str) -> None:
        self._backfills = backfills
        self._relay = relay
        self._retry_for = retry_for
        self._place = place

    async def take_over(self, epoch: int) -> None:
        """Keep older processes from writing progress."""

        async def fence() -> None:
            await self._backfills.update_many({"relay": self._relay}, {"$max": {"generation": epoch}})

        await self._persist("take over the backfills", fence)

    async def add(self, backfill: Backfill) -> bool:
        """See `StateStore.add_backfill`."""

        async def insert() -> bool:
            document = {"_id": self._name(backfill.id), "relay": self._relay, **backfill.fields()}
            try:
                await self._backfills.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

        return await self._persist("store a backfill", insert)

    async def read(self, *, active: bool) -> list[Backfill]:
        """See `StateStore.backfills`."""

        query = {"relay": self._relay, **({"state": {"$nin": ENDED}} if active else {})}

        async def read() -> list[dict[str, Any]]:
            found = self._backfills.find(query).sort([("created", 1), ("_id", 1)])
            return [each async for each in found]

        return [self._understood(each) for each in await self._persist("read the backfills", read)]

    async def want(self, id: str, wanted: str) -> Backfill | None:  # noqa: A002 - the field's name
        """See `StateStore.want_backfill`."""

        async def change() -> Backfill | None:
            while (document := await self._backfills.find_one({"_id": self._name(id)})) is not None:
                before = self._understood(document)
                after = before.wanting(wanted)
                if after == before:
                    return after
                # Only what changes: the relay may be writing the rest.
                changed = {name: value for name, value in after.fields().items() if value != before.fields()[name]}
                same = {"_id": document["_id"], "state": document["state"]}
                if (await self._backfills.update_one(same, {"$set": changed})).matched_count:
                    return after
            return None

        return await self._persist("change a backfill", change)

    async def save(self, epoch: int, moved: Mapping[str, BackfillProgress]) -> None:
        """See `StateStore.save`."""
        writes = [
            UpdateOne(
                {"_id": self._name(id_), "generation": {"$not": {"$gt": epoch}}},
                {"$set": {**progress.fields(), "generation": epoch}},
            )
            for id_, progress in moved.items()
        ]

        async def write() -> None:
            result = await self._backfills.bulk_write(writes, ordered=False)
            if result.matched_count == len(writes):
                return
            # The others were removed, or seen by a newer process.
            newer = {"_id": {"$in": [self._name(id_) for id_ in moved]}, "generation": {"$gt": epoch}}
            if (found := await self._backfills.find_one(newer)) is not None:
                raise superseded(self._relay, epoch, int(found["generation"]))

        await self._persist("store the progress of backfills", write)

    async def prune(self, max_age: float) -> None:
        """Delete those that ended longer than `max_age` seconds ago."""
        query = {"relay": self._relay, "ended": {"$lt": ago(max_age)}}
        await self._persist("delete old backfills", lambda: self._backfills.delete_many(query))

    def _understood(self, document: Mapping[str, Any]) -> Backfill:
        try:
            return Backfill.of_fields(document)
        except (KeyError, TypeError, ValueError) as error:
            name = document["_id"]
            removal = f'db.getCollection("backfills").deleteOne({{_id: "{name}"}})'
            raise damaged(name, f"collection {self._place}", error, remedy(removal)) from error

    def _name(self, id: str) -> str:  # noqa: A002
        return name_of(self._relay, id)

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._retry_for)
