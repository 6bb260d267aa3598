"""Dead letters in MongoDB: a document each, and more in another collection for what does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from pymongo import UpdateOne
from pymongo.errors import OperationFailure

from mess.state.failover import persist
from mess.state.letters import Packed, pack, to_millisecond, unpack
from mess.state.store import DeadLetter, Wanted

T = TypeVar("T")

_NEWEST_FIRST = [("time", -1), ("_id", -1)]
_UNLOADED = {"data": 0}


class MongoLetters:
    """The dead letters of one relay.

    A letter's first chunk is in its own document (`data`), further ones in `chunks`, each naming the `version` of the
    content it belongs to: a letter is replaced by first adding its new chunks, then switching to their version.
    """

    def __init__(self, letters: Any, chunks: Any, relay: str, patience: float) -> None:
        self._letters = letters
        self._chunks = chunks
        self._relay = relay
        self._patience = patience

    async def open(self) -> None:
        """Make the indexes; without the privilege to, listings are slower."""

        async def make() -> None:
            try:
                await self._letters.create_index([("relay", 1), ("time", -1)])
                await self._chunks.create_index([("letter", 1)])
            except OperationFailure as error:
                if error.code != 13:
                    raise

        await self._persist("make the state's indexes", make)

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        """See `StateStore.add_dead_letters`."""
        if not letters:
            return
        latest = {letter.id: letter for letter in letters}
        # A letter may be large, and compressing it must not hold up the event loop.
        packed = await asyncio.to_thread(lambda: [pack(letter) for letter in latest.values()])
        await self._persist("store dead letters", lambda: self._add(packed))

    async def _add(self, packed: Sequence[Packed]) -> None:
        for each in packed:
            for number, data in enumerate(each.chunks[1:], 1):
                chunk = {"letter": self._name(each.head["id"]), "version": each.version, "number": number}
                name = f"{chunk['letter']}/{each.version}/{number}"
                fields = {**chunk, "relay": self._relay, "data": data, "time": datetime.now(timezone.utc)}
                await self._chunks.update_one({"_id": name}, {"$set": fields}, upsert=True)
        await self._letters.bulk_write([self._upsert(each) for each in packed], ordered=False)
        # Only once no letter names them any more.
        versions = [each.version for each in packed]
        names = [self._name(each.head["id"]) for each in packed]
        await self._chunks.delete_many({"letter": {"$in": names}, "version": {"$nin": versions}})

    def _upsert(self, packed: Packed) -> UpdateOne:
        fields = {**packed.head, "relay": self._relay, "version": packed.version, "chunks": len(packed.chunks)}
        time = fields.pop("time")
        update = {"$set": {**fields, "data": packed.chunks[0]}, "$setOnInsert": {"time": time}}
        return UpdateOne({"_id": self._name(packed.head["id"])}, update, upsert=True)

    async def page(self, wanted: Wanted, after: DeadLetter | None, size: int) -> list[DeadLetter]:
        """See `StateStore._page`."""
        query: dict[str, Any] = {"relay": self._relay}
        if wanted.pipeline is not None:
            query["pipeline"] = wanted.pipeline
        if wanted.step is not None:
            query["step"] = wanted.step
        if wanted.namespace is not None:
            query |= {"db": wanted.namespace.db, "coll": wanted.namespace.coll}
        if wanted.since is not None:
            query["time"] = {"$gte": to_millisecond(wanted.since)}
        if after is not None:
            name = self._name(after.id)
            query = {"$and": [query, _not_newer(after.time, name), {"_id": {"$ne": name}}]}

        async def read() -> list[dict[str, Any]]:
            found = self._letters.find(query, _UNLOADED).sort(_NEWEST_FIRST).limit(size)
            return [document async for document in found]

        return [unpack(document) for document in await self._persist("read the dead letters", read)]

    async def get(self, id: str) -> DeadLetter | None:  # noqa: A002
        """See `StateStore.dead_letter`."""

        async def read() -> tuple[dict[str, Any] | None, list[bytes]]:
            head = await self._letters.find_one({"_id": self._name(id)})
            if head is None or head["chunks"] == 1:
                return head, []
            query = {"letter": head["_id"], "version": head["version"]}
            return head, [chunk["data"] async for chunk in self._chunks.find(query).sort([("number", 1)])]

        head, more = await self._persist("read a dead letter", read)
        return None if head is None else await asyncio.to_thread(unpack, head, [head["data"], *more])

    async def delete(self, ids: Sequence[str]) -> int:
        """See `StateStore.delete_dead_letters`."""
        return await self._delete({"_id": {"$in": [self._name(id) for id in ids]}})  # noqa: A001

    async def count(self) -> int:
        """See `StateStore.count_dead_letters`."""
        count: int = await self._persist(
            "count the dead letters", lambda: self._letters.count_documents({"relay": self._relay})
        )
        return count

    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        """See `StateStore.prune`."""
        deleted = 0
        query = {"relay": self._relay}
        if max_age is not None:
            deleted += await self._delete({"time": {"$lt": _age(max_age)}})
        if max_count is not None:

            async def first_too_many() -> list[dict[str, Any]]:
                found = self._letters.find(query, {"time": 1}).sort(_NEWEST_FIRST).skip(max_count).limit(1)
                return [document async for document in found]

            for document in await self._persist("read the dead letters", first_too_many):
                deleted += await self._delete(_not_newer(document["time"], document["_id"]))
        return deleted

    async def _delete(self, query: dict[str, Any]) -> int:
        query = {"relay": self._relay, **query}
        deleted: int = 0
        large: set[str] = set()

        async def delete() -> None:
            nonlocal deleted
            with_chunks = self._letters.find({**query, "chunks": {"$gt": 1}}, {"_id": 1})
            large.update([document["_id"] async for document in with_chunks])
            result = await self._letters.delete_many(query)
            deleted += result.deleted_count
            if large:
                await self._chunks.delete_many({"letter": {"$in": list(large)}})

        await self._persist("delete dead letters", delete)
        return deleted

    def _name(self, id: str) -> str:  # noqa: A002
        return f"{self._relay}/{id}"

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._patience)


def _not_newer(time: datetime, name: str) -> dict[str, Any]:
    return {"$or": [{"time": {"$lt": time}}, {"time": time, "_id": {"$lte": name}}]}


def _age(seconds: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(seconds=seconds)
