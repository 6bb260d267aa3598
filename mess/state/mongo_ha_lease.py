"""The lease under `ha` in MongoDB: the same field of the relay's document as without."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from pymongo import ReadPreference, ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from mess.cancellation import raise_if_cancelled
from mess.errors import StateError
from mess.state.failover import brief, hint
from mess.state.ha_lease import HaLease, LeaseRecord, Wish, beats_of, fields_of, instance_of, wish_of
from mess.state.instance import Instance
from mess.state.letters import OPTIONS

T = TypeVar("T")


class MongoHaLease(HaLease):
    """The field `beat` of the relay's document in the collection `relays` of `database`, whose client answers or fails
    within `timeout` seconds."""

    def __init__(self, database: Any, relay: str, timeout: float) -> None:
        super().__init__(relay)
        self._found = False
        self._relays = database.get_collection(
            "relays",
            codec_options=OPTIONS,
            read_preference=ReadPreference.PRIMARY,
            # A write that a majority does not have is lost with its primary, and so would be the lease.
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", wtimeout=max(1, int(timeout * 1000))),
        )

    async def read(self) -> LeaseRecord | None:
        found = await _ask("read who runs the relay", self._relays.find_one({"_id": self._relay}, {"beat": 1}))
        self.erased = found is None and self._found
        self._found = self._found or found is not None
        return None if found is None or "beat" not in found else _record(found["beat"])

    async def claim(self, instance: Instance, seconds: float, replacing: LeaseRecord | None) -> bool:
        seen = {"$exists": False} if replacing is None else {"$eq": replacing.stored}
        claim = self._relays.update_one(
            {"_id": self._relay, "beat": seen}, _taken_by(Wish(instance, seconds)), upsert=replacing is None
        )
        try:
            done = await _ask("take the lease", claim)
        except DuplicateKeyError:
            return False  # the document exists after all, and has a holder
        return bool(done.matched_count or done.upserted_id is not None)

    async def renew(self, instance: Instance, count: int) -> LeaseRecord | None:
        renewal = self._relays.find_one_and_update(
            {**self._held_by(instance), "beat.count": count},
            {"$set": {"beat.count": count + 1}, "$currentDate": {"beat.time": True}},
            projection={"beat": 1},
            return_document=ReturnDocument.AFTER,
        )
        found = await _ask("renew the lease", renewal)
        return None if found is None else _record(found["beat"])

    async def ask_for_handover(self, wish: Wish, holder: LeaseRecord) -> None:
        asked = self._relays.update_one(self._held_by(holder.instance), {"$set": {"beat.wish": fields_of(wish)}})
        await _ask("ask for the lease", asked)

    async def release(self, instance: Instance, heir: Wish | None = None) -> None:
        update: Any = {"$unset": {"beat": ""}} if heir is None else _taken_by(heir)
        done = await _ask("release the lease", self._relays.update_one(self._held_by(instance), update))
        if not done.matched_count:
            wish = {"_id": self._relay, "beat.wish.id": instance.id}
            await _ask("withdraw a wish", self._relays.update_one(wish, {"$unset": {"beat.wish": ""}}))

    def _held_by(self, instance: Instance) -> dict[str, Any]:
        return {"_id": self._relay, "beat.id": instance.id}


def _taken_by(holder: Wish) -> list[dict[str, Any]]:
    fields = {**asdict(holder.instance), "lease": holder.lease, "count": 0}
    return [{"$set": {"beat": {"$literal": fields}}}, {"$set": {"beat.since": "$$NOW", "beat.time": "$$NOW"}}]


def _record(beat: Any) -> LeaseRecord:
    fields = beat if isinstance(beat, Mapping) else {}
    try:
        instance = instance_of(fields)
    except (KeyError, TypeError, ValueError):
        instance = Instance(id="unknown", host="unknown", pid=0)  # edited by hand; no process writes this
    since = fields.get("since")
    count, lease = beats_of(fields.get("count"), fields.get("lease"))
    return LeaseRecord(
        instance,
        beat,
        since=since if isinstance(since, datetime) else None,
        count=count,
        lease=lease,
        wish=wish_of(fields.get("wish")),
        beat=fields.get("time"),
    )


async def _ask(what: str, operation: Awaitable[T]) -> T:
    try:
        return await operation
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        raise_if_cancelled()
        raise StateError(f"cannot {what}: {brief(error).rstrip('.')}{hint(error)}") from error
