"""State in MongoDB, by default in the watched deployment itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from bson import Timestamp
from bson.codec_options import CodecOptions
from pymongo import ReadPreference, UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from mess.errors import NotPermitted, StateError
from mess.event import Position
from mess.state.failover import Unsettled, is_refusal, persist
from mess.state.lease import Lease
from mess.state.mongo_lease import MongoLease
from mess.state.mongo_letters import MongoLetters
from mess.state.store import EVERYTHING, MAX_GAPS, Checkpoint, DeadLetter, Gap, Pointer, StateStore, Wanted

T = TypeVar("T")

_DUPLICATE_KEY = 11000
_WRITE_TIMEOUT_MS = 10_000


class MongoStore(StateStore):
    """State in the collections `checkpoints`, `dead_letters`, `dead_letter_chunks` and `relays` of a database.

    `database` is PyMongo's async handle or Motor's; its client is the caller's to connect and to close. Everything is
    written with majority write concern. `patience` is for how many seconds a failing write is tried again, so that an
    election does not stop the relay.

    Of checkpoints, the document named like the relay itself is a fence: every write touches it first, so that a
    superseded process cannot write streams which its successor does not know either.
    """

    def __init__(self, database: Any, relay: str, *, patience: float = 60.0) -> None:
        super().__init__(relay)
        self._patience = patience
        self._name = database.name
        # Whatever the url says: state must be read where it was written, and survive the loss of a primary.
        options = {
            "codec_options": CodecOptions(tz_aware=True),
            "read_preference": ReadPreference.PRIMARY,
            "read_concern": ReadConcern("majority"),
            "write_concern": WriteConcern("majority", wtimeout=_WRITE_TIMEOUT_MS),
        }
        self._checkpoints = database.get_collection("checkpoints", **options)
        self._relays = database.get_collection("relays", **options)
        self._lease = MongoLease(database, relay, patience)
        self._letters = MongoLetters(
            database.get_collection("dead_letters", **options),
            database.get_collection("dead_letter_chunks", **options),
            relay,
            patience,
        )

    async def open(self) -> None:
        async def prove_writable() -> None:
            # Of a write that changes nothing a command leaves nothing behind, which only looks or runs beside a relay.
            await self._relays.update_one({"_id": self.relay, "epoch": {"$lt": 0}}, {"$set": {"epoch": 0}})

        try:
            await self._persist("write state", prove_writable)
        except StateError as error:
            if is_refusal(error.__cause__):
                raise NotPermitted(f"{error} (database {self._name})") from error
            raise
        await self._letters.open()

    @property
    def lease(self) -> Lease:
        return self._lease

    async def take_over(self) -> int:
        async def raise_epoch() -> int:
            relay = await self._relays.find_one_and_update(
                {"_id": self.relay}, {"$inc": {"epoch": 1}}, upsert=True, return_document=True
            )
            epoch = int(relay["epoch"])
            await self._checkpoints.update_one(
                {"_id": self.relay},
                {"$max": {"epoch": epoch}, "$set": {"relay": self.relay, "fence": True}},
                upsert=True,
            )
            # $max, since of two processes starting at the same time the older may come here last.
            await self._checkpoints.update_many({"relay": self.relay}, {"$max": {"epoch": epoch}})
            return epoch

        self._epoch = await self._persist("take over the relay's state", raise_epoch)
        return self._epoch

    async def checkpoints(self) -> list[Checkpoint]:
        async def read() -> list[Checkpoint]:
            wanted = {"relay": self.relay, "fence": {"$ne": True}, "deleted": {"$ne": True}}
            return [_checkpoint(each) async for each in self._checkpoints.find(wanted).sort([("_id", 1)])]

        return await self._persist("read the checkpoints", read)

    async def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        epoch = self.epoch
        writes = [self._conditional(self.relay, {"fence": True}, epoch)]
        for each in checkpoints:
            token = None if each.position.token is None else dict(each.position.token)
            fields = {
                "stream": each.stream,
                "plan": each.plan,
                "selection": json.dumps(each.selection),  # its keys may hold $ and dots
                "token": token,
                "time": each.position.time,
                "updated": each.updated,
                "deleted": False,
            }
            writes.append(self._conditional(f"{self.relay}/{each.stream}", fields, epoch))
        await self._persist("store the checkpoints", lambda: self._write(writes))

    async def _delete_checkpoint(self, stream: str) -> bool:
        # Marked, not removed: a superseded process must still find the newer epoch, or it would write it anew.
        query = {"_id": f"{self.relay}/{stream}", "deleted": {"$ne": True}}
        fields = {"token": None, "time": None, "deleted": True}
        write = self._conditional(query["_id"], fields, self.epoch)

        async def delete() -> bool:
            found = await self._checkpoints.find_one(query, {"_id": 1}) is not None
            if found:
                await self._write([write])
            return found

        return await self._persist("delete a checkpoint", delete)

    def _conditional(self, name: Any, fields: dict[str, Any], epoch: int) -> UpdateOne:
        """A write that a newer epoch turns into an insert of a name which is there already."""
        update = {"$set": {**fields, "relay": self.relay, "epoch": epoch}}
        return UpdateOne({"_id": name, "epoch": {"$lte": epoch}}, update, upsert=True)

    async def _write(self, writes: Sequence[UpdateOne]) -> None:
        try:
            await self._checkpoints.bulk_write(writes, ordered=True)
        except BulkWriteError as error:
            if not any(each.get("code") == _DUPLICATE_KEY for each in error.details.get("writeErrors", ())):
                raise
            relay = await self._relays.find_one({"_id": self.relay})
            if relay and relay["epoch"] > self.epoch:
                raise self._superseded(relay["epoch"]) from error
            # Two attempts of one write may insert the same name at the same time; the next one finds it there.
            raise Unsettled(str(error)) from error

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._letters.add(letters)

    async def _page(self, wanted: Wanted, after: DeadLetter | None, size: int) -> list[DeadLetter]:
        return await self._letters.page(wanted, after, size)

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        return await self._letters.get(id)

    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        return await self._letters.pointers(wanted)

    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._letters.replace(letters)

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._letters.delete_unchanged(letters)

    async def delete_dead_letters(self, wanted: Wanted) -> int:
        return await self._letters.delete(wanted)

    async def count_dead_letters(self, wanted: Wanted = EVERYTHING) -> int:
        return await self._letters.count(wanted)

    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        return await self._letters.prune(max_age, max_count)

    async def record_gap(self, gap: Gap) -> None:
        entry = {"stream": gap.stream, "since": gap.since, "until": gap.until, "reason": gap.reason, "time": gap.time}

        async def push() -> None:
            # Pulled first, so that a second attempt does not record it twice.
            await self._relays.update_one({"_id": self.relay}, {"$pull": {"gaps": entry}})
            update = {"$push": {"gaps": {"$each": [entry], "$slice": -MAX_GAPS}}, "$setOnInsert": {"epoch": 0}}
            await self._relays.update_one({"_id": self.relay}, update, upsert=True)

        await self._persist("record a gap", push)

    async def gaps(self) -> list[Gap]:
        relay = await self._persist("read the gaps", lambda: self._relays.find_one({"_id": self.relay}))
        return [Gap(**each) for each in (relay or {}).get("gaps", ())]

    async def close(self) -> None:
        """Nothing to do: the client is the caller's."""

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._patience)


def _checkpoint(document: dict[str, Any]) -> Checkpoint:
    time = document["time"]
    position = Position(document["token"], time if isinstance(time, Timestamp) else None)
    return Checkpoint(
        document["stream"], document["plan"], json.loads(document["selection"]), position, document["updated"]
    )
