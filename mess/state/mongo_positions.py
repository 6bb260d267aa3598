"""A relay's progress in MongoDB: its epoch, its coverage map, and its streams' checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bson import Int64
from pymongo import DeleteMany, UpdateOne
from pymongo.errors import BulkWriteError

from mess.commands import command, quoted
from mess.errors import DamagedState
from mess.state.failover import Unsettled, persist
from mess.state.records import Checkpoint, LegacyCheckpoint, Positions, checked
from mess.state.store import superseded

T = TypeVar("T")

_log = logging.getLogger("mess.state")

_DUPLICATE_KEY = 11000
REFUSES_OLD_VERSIONS = Int64(2**63 - 1)
"""Replaces the epoch of MESS 0.1. It cannot be incremented, so an old version fails at startup instead of starting from
scratch. It is also greater than any other epoch, so a running old version ends as superseded."""


class MongoPositions:
    """The progress of one relay, in the collections `relays` and `checkpoints`.

    In `checkpoints`, the document with the relay's name holds the coverage map. The documents with its streams'
    positions (`relay/stream`) name the `arrangement` they belong to, and are valid only while the map has the same one.
    Every write is conditional on `generation`, the relay's epoch.
    """

    def __init__(self, relays: Any, checkpoints: Any, relay: str, retry_for: float, place: str) -> None:
        self._relays = relays
        self._checkpoints = checkpoints
        self._relay = relay
        self._retry_for = retry_for
        self._place = place

    async def epochs(self) -> tuple[int, int]:
        """See `StateStore.epochs`."""
        return await self._persist("read the relay's epoch", self._epochs)

    async def _epochs(self) -> tuple[int, int]:
        record = await self._relays.find_one({"_id": self._relay}) or {}
        fields = {"generation": 1, "epoch": 1}
        written = [each async for each in self._checkpoints.find({"relay": self._relay}, fields)]
        return _newest([record]), _newest(written)

    async def take_over(self) -> int:
        """See `StateStore.take_over`."""

        async def raise_epoch() -> int:
            known, written = await self._epochs()
            if written > known:
                _log.warning(
                    "the record of relay %s (epoch %d) is older than its checkpoints (epoch %d), as after its removal "
                    "or a restored backup; continuing above both",
                    self._relay,
                    known,
                    written,
                )
            floor = {"$max": {"generation": max(written, known)}, "$set": {"epoch": REFUSES_OLD_VERSIONS}}
            await self._relays.update_one({"_id": self._relay}, floor, upsert=True)
            raised = await self._relays.find_one_and_update(
                {"_id": self._relay}, {"$inc": {"generation": 1}}, upsert=True, return_document=True
            )
            epoch = int(raised["generation"])
            fence = {
                "$max": {"generation": epoch, "epoch": REFUSES_OLD_VERSIONS},
                "$set": {"relay": self._relay, "fence": True},
            }
            await self._checkpoints.update_one({"_id": self._relay}, fence, upsert=True)
            # Use $max, since the older of two processes that start at the same time may get here last.
            await self._checkpoints.update_many({"relay": self._relay}, {"$max": {"generation": epoch}})
            return epoch

        return await self._persist("take over the relay's state", raise_epoch)

    async def read(self) -> Positions:
        """See `StateStore.positions`."""

        async def read() -> list[dict[str, Any]]:
            wanted = {"relay": self._relay, "deleted": {"$ne": True}}
            return [each async for each in self._checkpoints.find(wanted).sort([("_id", 1)])]

        documents = await self._persist("read the checkpoints", read)
        fence = next((each for each in documents if each["_id"] == self._relay), {})
        streams = [each for each in documents if each["_id"] != self._relay]
        legacy = [each for each in streams if "selection" in each]
        if "coverage" not in fence:
            if fence.get("arrangement") is not None:
                raise self._damaged(self._relay, "the field coverage is missing")
            return Positions(legacy=tuple(self._understood(each, LegacyCheckpoint.of_fields) for each in legacy))
        coverage = self._understood(fence, lambda document: checked(document, "coverage", list))
        arrangement = fence.get("arrangement")
        current = [each for each in streams if "selection" not in each and _belongs(each, arrangement)]
        return Positions(coverage, tuple(self._understood(each, _checkpoint) for each in current))

    async def arrange(
        self, epoch: int, arrangement: str, coverage: list[Any], checkpoints: Sequence[Checkpoint]
    ) -> None:
        """See `StateStore.arrange`."""
        fields = {"fence": True, "arrangement": arrangement, "coverage": coverage, "relay": self._relay}
        fence = UpdateOne(
            {"_id": self._relay, "generation": {"$lte": epoch}},
            {"$set": {**fields, "generation": epoch}, "$max": {"epoch": REFUSES_OLD_VERSIONS}},
            upsert=True,
        )
        rest = {
            "relay": self._relay,
            "_id": {"$ne": self._relay},
            "arrangement": {"$ne": arrangement},
            "generation": {"$not": {"$gt": epoch}},
        }
        writes = [fence, *self._writes(epoch, arrangement, checkpoints), DeleteMany(rest)]
        await self._persist("store the coverage map", lambda: self._write(epoch, arrangement, writes))

    async def remove(self, epoch: int, stream: str) -> bool:
        """See `StateStore.remove_position`."""
        query = {"_id": f"{self._relay}/{stream}", "generation": {"$lte": epoch}}
        result = await self._persist("remove a checkpoint", lambda: self._checkpoints.delete_one(query))
        return bool(result.deleted_count)

    async def save(self, epoch: int, arrangement: str, checkpoints: Sequence[Checkpoint]) -> bool:
        """See `StateStore._save`."""
        # Update this first: a superseded process must not write streams that its successor does not know.
        touched = UpdateOne(
            {"_id": self._relay, "generation": {"$lte": epoch}, "arrangement": arrangement},
            {"$set": {"generation": epoch, "relay": self._relay, "fence": True}},
            upsert=True,
        )
        writes = [touched, *self._writes(epoch, arrangement, checkpoints)]

        async def write() -> bool:
            result = await self._write(epoch, arrangement, writes)
            return result is not None and 0 not in (result.upserted_ids or {})

        return await self._persist("store the checkpoints", write)

    def _writes(self, epoch: int, arrangement: str, checkpoints: Iterable[Checkpoint]) -> list[UpdateOne]:
        writes: list[UpdateOne] = []
        for each in checkpoints:
            fields = {
                **each.fields(),
                "relay": self._relay,
                "arrangement": arrangement,
                "generation": epoch,
            }
            # A newer epoch turns this into an insert of an existing name.
            query = {"_id": f"{self._relay}/{each.stream}", "generation": {"$lte": epoch}}
            writes.append(UpdateOne(query, {"$set": fields, "$unset": {"selection": "", "deleted": ""}}, upsert=True))
        return writes

    async def _write(self, epoch: int, arrangement: str, writes: Sequence[Any]) -> Any:
        """The result; None if another arrangement was found."""
        try:
            return await self._checkpoints.bulk_write(writes, ordered=True)
        except BulkWriteError as error:
            if not any(each.get("code") == _DUPLICATE_KEY for each in error.details.get("writeErrors", ())):
                raise
            fields = {"generation": 1, "arrangement": 1}
            found = [each async for each in self._checkpoints.find({"relay": self._relay}, fields)]
            newest = _newest(found)
            if newest > epoch:
                raise superseded(self._relay, epoch, newest) from error
            fence = next((each for each in found if each["_id"] == self._relay), None)
            if fence is not None and fence.get("arrangement") != arrangement:
                return None
            # Two attempts of one write may insert the same name at the same time; the retry finds it.
            raise Unsettled(str(error)) from error

    def _understood(self, document: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> T:
        try:
            return read(document)
        except (KeyError, TypeError, ValueError) as error:
            missing = f"the field {error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise self._damaged(document["_id"], missing) from error

    def _damaged(self, name: str, why: str) -> DamagedState:
        stream = str(name).removeprefix(f"{self._relay}/")
        option = "--all" if name == self._relay else f"--stream {quoted(stream)}"
        return DamagedState(
            f"the record {name!r} in collection {self._place} is damaged: {why}. Restore it from a backup, or give up "
            f"the position: {command(f'checkpoints reset {option}')}"
        )

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._retry_for)


def _newest(documents: Iterable[Mapping[str, Any]]) -> int:
    """The newest epoch in any of the documents, as written by this version or by MESS 0.1."""
    values = [document.get(field) for document in documents for field in ("generation", "epoch")]
    return max((int(each) for each in values if isinstance(each, int) and each < REFUSES_OLD_VERSIONS), default=0)


def _belongs(document: Mapping[str, Any], arrangement: Any) -> bool:
    # A document without the field was changed by hand; reading it reports that.
    return bool(document.get("arrangement", arrangement) == arrangement)


def _checkpoint(document: Mapping[str, Any]) -> Checkpoint:
    checked(document, "arrangement", str)
    return Checkpoint.of_fields(document)
