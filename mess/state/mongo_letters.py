"""Dead letters in MongoDB: one document each, and further chunks in another collection."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

from pymongo import UpdateOne
from pymongo.errors import OperationFailure

from mess.event import Namespace
from mess.state.failover import persist
from mess.state.letters import Packed, pack, unpack
from mess.state.mongo_queries import NEWEST_FIRST, ago, name_of, not_newer, query_for
from mess.state.records import DeadLetter, Listed, Pointer, Wanted

T = TypeVar("T")

_UNLOADED = {"data": 0}


class MongoLetters:
    """The dead letters of one relay.

    A letter's first chunk is in its own document (`data`), the others are in `chunks`, each with the `version` of the
    content it belongs to. A letter is replaced by first adding its new chunks, then switching to their version.
    """

    def __init__(self, letters: Any, chunks: Any, relay: str, retry_for: float) -> None:
        self._letters = letters
        self._chunks = chunks
        self._relay = relay
        self._retry_for = retry_for

    async def open(self) -> None:
        """Create the indexes; without the privilege to do so, listings are slower."""

        async def make() -> None:
            try:
                await self._letters.create_index([("relay", 1), ("time", -1)])
                await self._letters.create_index([("relay", 1), ("pipeline", 1), ("step", 1)])
                await self._chunks.create_index([("letter", 1)])
            except OperationFailure as error:
                if error.code != 13:
                    raise

        await self._persist("create the state's indexes", make)

    async def add(self, letters: Sequence[DeadLetter]) -> None:
        """See `StateStore.add_dead_letters`."""
        if not letters:
            return
        latest = {letter.id: letter for letter in letters}
        # A letter may be large, and compressing it must not block the event loop.
        packed = await asyncio.to_thread(lambda: [pack(letter) for letter in latest.values()])
        await self._persist("store dead letters", lambda: self._add(packed))

    async def _add(self, packed: Sequence[Packed]) -> None:
        for each in packed:
            await self._add_chunks(each)
        await self._letters.bulk_write([self._upsert(each) for each in packed], ordered=False)
        # Only once no letter refers to them any more.
        versions = [each.version for each in packed]
        names = [self._name(each.head["id"]) for each in packed]
        await self._chunks.delete_many({"letter": {"$in": names}, "version": {"$nin": versions}})

    async def _add_chunks(self, packed: Packed) -> None:
        for number, data in enumerate(packed.chunks[1:], 1):
            chunk = {"letter": self._name(packed.head["id"]), "version": packed.version, "number": number}
            name = f"{chunk['letter']}/{packed.version}/{number}"
            fields = {**chunk, "relay": self._relay, "data": data, "time": datetime.now(timezone.utc)}
            await self._chunks.update_one({"_id": name}, {"$set": fields}, upsert=True)

    def _upsert(self, packed: Packed) -> UpdateOne:
        fields = self._fields(packed)
        time = fields.pop("time")
        return UpdateOne(
            {"_id": self._name(fields["id"])}, {"$set": fields, "$setOnInsert": {"time": time}}, upsert=True
        )

    def _fields(self, packed: Packed) -> dict[str, Any]:
        stored = {"relay": self._relay, "version": packed.version, "chunks": len(packed.chunks)}
        return {**packed.head, **stored, "data": packed.chunks[0]}

    async def replace(self, letters: Sequence[DeadLetter]) -> int:
        """See `StateStore.replace_unchanged`."""
        packed = await asyncio.to_thread(lambda: [pack(letter) for letter in letters])
        replaced = [
            await self._persist("store a dead letter", partial(self._replace, letter, each))
            for letter, each in zip(letters, packed, strict=True)
        ]
        return sum(replaced)

    async def _replace(self, letter: DeadLetter, packed: Packed) -> bool:
        await self._add_chunks(packed)
        name = self._name(letter.id)
        result = await self._letters.update_one(
            {"_id": name, "version": letter.version}, {"$set": self._fields(packed)}
        )
        kept = await self._letters.find_one({"_id": name}, {"version": 1})
        done = kept is not None and kept["version"] == packed.version
        # Only the version that is no longer referenced: another process may just be adding a third one.
        unused = letter.version if done else packed.version
        if unused != (kept or {}).get("version"):
            await self._chunks.delete_many({"letter": name, "version": unused})
        return bool(done or result.matched_count)

    async def page(self, wanted: Wanted, after: Listed | None, size: int) -> list[DeadLetter]:
        """See `StateStore.page`."""
        query = query_for(self._relay, wanted)
        if after is not None:
            name = self._name(after.id)
            query = {"$and": [query, not_newer(after.time, name), {"_id": {"$ne": name}}]}

        async def read() -> list[dict[str, Any]]:
            found = self._letters.find(query, _UNLOADED).sort(NEWEST_FIRST).limit(size)
            return [document async for document in found]

        return [unpack(document) for document in await self._persist("read the dead letters", read)]

    async def pointers(self, wanted: Wanted) -> list[Pointer]:
        """See `StateStore.pointers`."""

        async def read() -> list[tuple[str, datetime, Pointer]]:
            fields = dict.fromkeys(("id", "place", "time", "pipeline", "step", "db", "coll", "operation"), 1)
            return [
                (each.get("place", ""), each["time"], _pointer(each))
                async for each in self._letters.find(query_for(self._relay, wanted), fields)
            ]

        return [pointer for _, _, pointer in sorted(await self._persist("read the dead letters", read))]

    async def places(self) -> dict[tuple[str, str], int]:
        """See `StateStore.dead_letter_places`."""
        stages: list[dict[str, Any]] = [
            {"$match": {"relay": self._relay}},
            {"$group": {"_id": {"pipeline": "$pipeline", "step": "$step"}, "count": {"$sum": 1}}},
        ]

        async def read() -> dict[tuple[str, str], int]:
            found = await _aggregated(self._letters, stages)
            return {(each["_id"]["pipeline"], each["_id"]["step"]): each["count"] for each in found}

        return await self._persist("count the dead letters", read)

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

    async def delete(self, wanted: Wanted) -> int:
        """See `StateStore.delete_dead_letters`."""
        return await self._delete(query_for(self._relay, wanted))

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        """See `StateStore.delete_unchanged`."""
        if not letters:
            return 0
        read = [{"_id": self._name(letter.id), "version": letter.version} for letter in letters]
        return await self._delete({"relay": self._relay, "$or": read})

    async def count(self, wanted: Wanted) -> int:
        """See `StateStore.count_dead_letters`."""
        query = query_for(self._relay, wanted)
        return int(await self._persist("count the dead letters", lambda: self._letters.count_documents(query)))

    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        """See `StateStore.prune`."""
        deleted = 0
        query = {"relay": self._relay}
        if max_age is not None:
            deleted += await self._delete({**query, "time": {"$lt": ago(max_age)}})
        if max_count is not None:

            async def first_too_many() -> list[dict[str, Any]]:
                found = self._letters.find(query, {"time": 1}).sort(NEWEST_FIRST).skip(max_count).limit(1)
                return [document async for document in found]

            for document in await self._persist("read the dead letters", first_too_many):
                deleted += await self._delete({**query, **not_newer(document["time"], document["_id"])})
        return deleted

    async def _delete(self, query: dict[str, Any]) -> int:
        deleted = 0
        large: dict[str, str] = {}

        async def delete() -> None:
            nonlocal deleted
            found = self._letters.find({**query, "chunks": {"$gt": 1}}, {"version": 1})
            large.update({each["_id"]: each["version"] async for each in found})
            # Only in the version that was found: a relay may be giving up one of these events again.
            for name, version in large.items():
                result = await self._letters.delete_one({"_id": name, "version": version})
                deleted += result.deleted_count
                await self._chunks.delete_many({"letter": name, "version": version})
            result = await self._letters.delete_many({**query, "chunks": 1})
            deleted += result.deleted_count

        await self._persist("delete dead letters", delete)
        return deleted

    def _name(self, id: str) -> str:  # noqa: A002
        return name_of(self._relay, id)

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._retry_for)


async def _aggregated(collection: Any, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of an aggregation. PyMongo's async API returns its cursor from a coroutine, Motor returns it
    directly."""
    cursor = collection.aggregate(stages)
    if inspect.isawaitable(cursor):
        cursor = await cursor
    return [document async for document in cursor]


def _pointer(head: Mapping[str, Any]) -> Pointer:
    return Pointer(
        id=head["id"],
        pipeline=head["pipeline"],
        step=head["step"],
        namespace=Namespace(head["db"], head["coll"]),
        operation=head["operation"],
    )
