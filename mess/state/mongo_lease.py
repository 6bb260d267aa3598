"""The lease in MongoDB: a beat in the relay's document, timed by the server."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from bson.codec_options import CodecOptions
from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError

from mess.errors import StateError
from mess.state.failover import brief, persist
from mess.state.ha_lease import instance_of
from mess.state.instance import Instance
from mess.state.lease import ALIVE_SECONDS, OBSERVED_SECONDS, Lease, Presence

T = TypeVar("T")

_AWAY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Beat:
    """A stored beat and its process; `presence` is None if it cannot be decoded."""

    stored: Any
    presence: Presence | None

    @property
    def overdue(self) -> bool:
        # A clock that was set back leaves a beat in the future, which a live process would have corrected.
        return self.presence is None or abs(self.presence.age or 0.0) >= self.alive_seconds

    @property
    def alive_seconds(self) -> float:
        """How long after its beat the process may be alive; with `ha`, it delivers for a lease."""
        lease = self.stored.get("lease") if isinstance(self.stored, dict) else None
        return max(ALIVE_SECONDS, lease) if isinstance(lease, (int, float)) else ALIVE_SECONDS


class MongoLease(Lease):
    """The field `beat` of the relay's document in the collection `relays` of `database`."""

    def __init__(self, database: Any, relay: str, retry_for: float) -> None:
        super().__init__(relay)
        self._database = database
        self._retry_for = retry_for
        self._majority = database.get_collection("relays", write_concern=WriteConcern("majority", wtimeout=10_000))
        # A beat that is lost with a primary is replaced by the next one; it need not wait for secondaries.
        self._one = database.get_collection("relays", write_concern=WriteConcern(1))
        self._watched: Any = None
        self._watched_since = self._looked_at = 0.0

    async def alive(self) -> Presence | None:
        beat = await self._persist("read who runs the relay", self._read)
        if beat is None or beat.presence is None or beat.overdue:
            return None
        return None if beat.presence.instance.has_ended(Instance.current()) else beat.presence

    async def acquire(
        self, instance: Instance, *, force: bool = False, observe: float = OBSERVED_SECONDS
    ) -> Presence | None:
        while True:
            beat = await self._persist("read who runs the relay", self._read)
            if beat is not None and not (force or self._is_lost(beat, instance, observe)):
                return beat.presence
            if await self._persist("record who runs the relay", partial(self._claim, instance, beat)):
                return None

    async def renew(self, instance: Instance) -> None:
        try:
            beaten = await self._one.update_one(self._held_by(instance), {"$currentDate": {"beat.time": True}})
            if beaten.matched_count:
                return
            beat = await self._read()
            if beat is not None and beat.presence is not None:
                raise self._superseded(beat.presence)
            await self._claim(instance, beat)  # the document was deleted
        except PyMongoError as error:
            raise StateError(f"cannot record that the relay is alive: {brief(error)}") from error

    async def release(self, instance: Instance) -> None:
        try:
            await self._one.update_one(self._held_by(instance), {"$unset": {"beat": ""}})
        except PyMongoError as error:
            raise StateError(f"cannot record that the relay has stopped: {brief(error)}") from error

    def _held_by(self, instance: Instance) -> dict[str, Any]:
        return {"_id": self._relay, "beat.id": instance.id}

    async def _read(self) -> _Beat | None:
        # One command for both drivers, so that the beat and the time come from the same server.
        command = {
            "aggregate": "relays",
            "pipeline": [{"$match": {"_id": self._relay}}, {"$project": {"beat": 1, "now": "$$NOW"}}],
            "cursor": {},
        }
        reply = await self._database.command(command, codec_options=CodecOptions(tz_aware=True))
        found: dict[str, Any] = next(iter(reply["cursor"]["firstBatch"]), {})
        return _Beat(found["beat"], _presence(found["beat"], found["now"])) if "beat" in found else None

    async def _claim(self, instance: Instance, replacing: _Beat | None) -> bool:
        """Replace the beat that was read with one of `instance`, unless it has changed since."""
        seen = {"$exists": False} if replacing is None else {"$eq": replacing.stored}
        update = [
            {"$set": {"beat": {"$literal": asdict(instance)}}},
            {"$set": {"beat.since": "$$NOW", "beat.time": "$$NOW"}},
        ]
        try:
            done = await self._majority.update_one({"_id": self._relay, "beat": seen}, update, upsert=replacing is None)
        except DuplicateKeyError:
            return False  # the document exists after all, and has a beat
        return bool(done.matched_count or done.upserted_id is not None)

    def _is_lost(self, beat: _Beat, instance: Instance, observe: float) -> bool:
        if beat.presence is None:
            return True
        holder = beat.presence.instance
        if holder.id == instance.id or holder.is_in(instance) or holder.has_ended(instance):
            return True
        now = time.monotonic()
        # Time during which nobody looked, or nobody could, was not observed.
        if beat.stored != self._watched or now - self._looked_at > _AWAY_SECONDS:
            self._watched, self._watched_since = beat.stored, now
        self._looked_at = now
        observed = now - self._watched_since
        return observed >= (observe if beat.overdue else beat.alive_seconds)

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._retry_for)


def _presence(beat: Any, now: datetime) -> Presence | None:
    try:
        instance = instance_of(beat)
        since = beat.get("since")
        return Presence(instance, since if isinstance(since, datetime) else None, (now - beat["time"]).total_seconds())
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # edited by hand; no process writes this
