"""Reads a collection's documents in the order of their `_id`, a chunk at a time, each as of a cluster time."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import StrEnum
from typing import Any

import bson
from bson import Int64, MaxKey, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, PyMongoError

from mess.cancellation import raise_if_cancelled
from mess.capture.client import LacksPrivilege, explain
from mess.capture.decode import RAW, VALUES
from mess.capture.errors import Kind, is_permanent, kind_of
from mess.capture.raw_id import between, comparable, id_of, literal
from mess.capture.source import PlacedEvent, Unreadable
from mess.errors import SourceError
from mess.event import Namespace, Position
from mess.ids import hashed_ids

_TOLERANCE = 2
"""By which factor the documents that stages select may exceed a chunk's size: what is too large is read again."""
_MS, _MS_ALONE = 1_000, 30_000
"""How long MongoDB may take for several documents, and for one. The changes behind them wait meanwhile."""
_EXPIRED = 50  # MaxTimeMSExpired
_TOO_OLD = {239, 246}  # SnapshotTooOld, SnapshotUnavailable


class ReadEvent(PlacedEvent):
    """A document as it was at a cluster time, as an event with the operation `read`.

    `backfill` is the id of what asked for it. With `only`, it is for that step alone.
    """

    __slots__ = ("backfill", "only")

    def __init__(self, change: dict[str, Any], namespace: Namespace, size: int, *, id: str) -> None:  # noqa: A002
        super().__init__(change, namespace, size, id=id)
        self.backfill = ""
        self.only = None
        self.place = Position(None, None)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that follow each other. `last` is the last one's `_id`, in a BSON document, None at the collection's
    end; `count` is how many documents were read, of which a `match` may have selected fewer, in `size` bytes."""

    events: Sequence[ReadEvent]
    unreadable: tuple[Unreadable, ...]
    last: bytes | None
    count: int
    size: int


class ReadFailure(StrEnum):
    """What helps when documents cannot be read."""

    LATER = "later"
    GONE = "gone"  # nothing: there is no such collection
    FURTHER_ON = "further on"  # the place is too old, or older than the collection
    FEWER = "fewer"
    NOT_PERMITTED = "not permitted"
    NEVER = "never"


class CannotRead(SourceError):
    """A chunk cannot be read."""

    def __init__(self, reason: str, failure: ReadFailure) -> None:
        super().__init__(reason)
        self.failure = failure


class ExistingDocuments:
    """The documents of a collection, as events of the backfill with this id.

    `stages` is evaluated by MongoDB over the events, as the stages of a change stream are over its changes: it selects
    some of them, or removes parts.
    """

    def __init__(
        self,
        client: Any,
        namespace: Namespace,
        backfill: str,
        *,
        stages: Sequence[Mapping[str, Any]] = (),
        clustered: bool = False,
    ) -> None:
        self._database = client.get_database(namespace.db)
        self._read_preference = client.read_preference
        self._namespace = namespace
        self._backfill = backfill
        self._stages = list(stages)
        self._clustered = clustered

    async def read(self, at: Timestamp, after: bytes | None, most: int, max_bytes: int) -> Chunk:
        """At most `most` documents that follow the `_id` in the BSON document `after` (None for the first ones), as of
        `at`; fewer if they exceed `max_bytes`, or with `stages` about twice that, but at least one.

        Raises CannotRead.
        """
        try:
            if self._stages:
                return await self._read_selected(at, after, most, max_bytes)
            return await self._read_all(at, after, most, max_bytes)
        except PyMongoError as error:
            raise_if_cancelled()
            reason = explain(error)
            permitted = not isinstance(reason, LacksPrivilege)
            raise CannotRead(str(reason), _failure(error) if permitted else ReadFailure.NOT_PERMITTED) from error

    async def _read_all(self, at: Timestamp, after: bytes | None, most: int, max_bytes: int) -> Chunk:
        cursor = await self._find(at, after, {"limit": most, "batchSize": most, **_within(most)})
        if not cursor["firstBatch"]:
            return await self._end()
        taken: list[bytes] = []
        size = 0
        for document in cursor["firstBatch"]:
            size += len(document.raw)
            if size > max_bytes and taken:
                size -= len(document.raw)
                break
            taken.append(bytes(document.raw))
        events, unreadable = self._events(at, taken, cursor)
        return Chunk(events, unreadable, last=id_of(taken[-1]), count=len(taken), size=size)

    async def _find(self, at: Timestamp, after: bytes | None, options: Mapping[str, Any]) -> RawBSONDocument:
        """The reply's `cursor`, whose `firstBatch` is all of it."""
        command: dict[str, Any] = {"find": self._namespace.coll, "hint": {"_id": 1}, "sort": {"_id": 1}}
        if after is not None:
            # A plain `$gt` would find values of the same BSON type only.
            command["filter"] = {"$expr": {"$gt": ["$_id", literal(after)]}}
            if self._clustered:
                # Without it, `$expr` would scan from the collection's start. It includes the document itself, but
                # excludes MaxKey.
                command["min"] = RawBSONDocument(after)
        reply = await self._command({**command, "singleBatch": True, **options}, at)
        cursor: RawBSONDocument = reply["cursor"]
        if "min" in command and not cursor["firstBatch"]:
            command["filter"] = {"$and": [command["filter"], {"_id": MaxKey()}]}
            del command["min"]
            reply = await self._command({**command, "singleBatch": True, **options}, at)
            cursor = reply["cursor"]
        return cursor

    async def _end(self) -> Chunk:
        """The chunk behind the last document. A collection that is gone looks empty, even as of a time when it was
        there."""
        query = {"listCollections": 1, "nameOnly": True, "filter": {"name": self._namespace.coll}}
        if not (await self._database.command(query))["cursor"]["firstBatch"]:
            reason = "the collection does not exist: it was dropped or renamed meanwhile"
            raise CannotRead(reason, ReadFailure.GONE)
        return Chunk((), (), last=None, count=0, size=0)

    async def _read_selected(self, at: Timestamp, after: bytes | None, most: int, max_bytes: int) -> Chunk:
        # Progress must not depend on what is selected: the chunk ends at the `_id` of the last document scanned.
        keys = await self._keys(at, after, {"skip": most - 1, "limit": 1, **_within(most)})
        count = most
        if not keys:
            # Fewer are left. If their `_id`s are long, not even those fit into one reply, so this need not be the end.
            keys = await self._keys(at, after, {"limit": most, "batchSize": most, **_within(most)})
            count = len(keys)
        if not keys:
            return await self._end()
        last = id_of(bytes(keys[-1].raw))
        # The limit ends a scan without an upper bound, see `_range`.
        stages = [{"$match": self._range(after, last)}, {"$sort": {"_id": 1}}, {"$limit": count}]
        command = {
            "aggregate": self._namespace.coll,
            "pipeline": [*stages, *self._as_events(at), *self._stages],
            "cursor": {"batchSize": count + 1},
            "hint": {"_id": 1},
            **_within(count),
        }
        try:
            cursor = (await self._command(command, at))["cursor"]
        except OperationFailure as error:
            if kind_of(error) is not Kind.TOO_LARGE or count > 1:
                raise
            # A document with a long `_id`, which the event contains twice.
            letter = self._unreadable("its event is larger than MongoDB can match (16 MB)", at, last)
            return Chunk((), (letter,), last=last, count=1, size=0)
        found = [bytes(document.raw) for document in cursor["firstBatch"]]
        size = sum(map(len, found))
        if cursor["id"]:
            await self._command({"killCursors": self._namespace.coll, "cursors": [Int64(cursor["id"])]})
        if count > 1 and (cursor["id"] or size > _TOLERANCE * max_bytes):
            raise CannotRead(f"{count} documents are too large to be read at once", ReadFailure.FEWER)
        events, unreadable = self._selected(at, found)
        return Chunk(events, unreadable, last=last, count=count, size=size)

    async def _keys(self, at: Timestamp, after: bytes | None, options: Mapping[str, Any]) -> list[RawBSONDocument]:
        cursor = await self._find(at, after, {"projection": {"_id": 1}, **options})
        keys: list[RawBSONDocument] = cursor["firstBatch"]
        return keys

    def _range(self, after: bytes | None, last: bytes) -> dict[str, Any]:
        bounds = [{"$gt": ["$_id", literal(after)]}] if after is not None else []
        condition: dict[str, Any] = {"$expr": {"$and": [*bounds, {"$lte": ["$_id", literal(last)]}]}}
        if self._clustered and after is not None and comparable(after, last):
            # On clustered collections, `$expr` has no bounds. These have, but only for values of one BSON type: where
            # the type changes, one chunk is read from the collection's start.
            condition["_id"] = between(after, last)
        return condition

    def _as_events(self, at: Timestamp) -> list[dict[str, Any]]:
        event = {
            "operationType": {"$literal": "read"},
            "clusterTime": {"$literal": at},
            "wallTime": {"$literal": _wall_time(at)},
            "fullDocument": "$$ROOT",
            "ns": {"$literal": {"db": self._namespace.db, "coll": self._namespace.coll}},
            "documentKey": {"_id": "$_id"},
        }
        return [{"$replaceRoot": {"newRoot": event}}]

    async def _command(self, command: dict[str, Any], at: Timestamp | None = None) -> Any:
        if at is not None:
            command["readConcern"] = {"level": "snapshot", "atClusterTime": at}
        return await self._database.command(command, read_preference=self._read_preference, codec_options=RAW)

    def _events(
        self, at: Timestamp, raw: Sequence[bytes], cursor: RawBSONDocument
    ) -> tuple[list[ReadEvent], tuple[Unreadable, ...]]:
        """Wrapping the documents here takes half as long as in the server."""
        events: list[ReadEvent] = []
        unreadable: list[Unreadable] = []
        namespace, wall_time = self._namespace, _wall_time(at)
        ns = {"db": namespace.db, "coll": namespace.coll}
        keys = [id_of(each) for each in raw]
        for key, id_, document, data in zip(keys, self._ids(keys), _decoded(raw, cursor), raw, strict=True):
            if isinstance(document, Exception):
                unreadable.append(self._unreadable(_undecodable(document), at, key))
                continue
            change = {
                "operationType": "read",
                "clusterTime": at,
                "wallTime": wall_time,
                "fullDocument": document,
                "ns": ns,
                "documentKey": {"_id": document["_id"]},
            }
            events.append(ReadEvent(change, namespace, len(data), id=id_))
        return events, tuple(unreadable)

    def _selected(self, at: Timestamp, raw: Sequence[bytes]) -> tuple[list[ReadEvent], tuple[Unreadable, ...]]:
        events: list[ReadEvent] = []
        unreadable: list[Unreadable] = []
        keys = [id_of(bytes(RawBSONDocument(each)["documentKey"].raw)) for each in raw]
        for data, key, id_ in zip(raw, keys, self._ids(keys), strict=True):
            try:
                change: dict[str, Any] = bson.decode(data, VALUES)
            except Exception as error:  # see above
                unreadable.append(self._unreadable(_undecodable(error), at, key))
                continue
            events.append(ReadEvent(change, self._namespace, len(data), id=id_))
        return events, tuple(unreadable)

    def _unreadable(self, reason: str, at: Timestamp, key: bytes) -> Unreadable:
        change: dict[str, Any] = {
            "operationType": "read",
            "clusterTime": at,
            "wallTime": _wall_time(at),
            "ns": {"db": self._namespace.db, "coll": self._namespace.coll},
        }
        with contextlib.suppress(Exception):  # its _id may be what cannot be decoded
            change["documentKey"] = bson.decode(key, VALUES)
        [id_] = self._ids([key])
        return Unreadable(Position(None, None), reason, id=id_, change=change)

    def _ids(self, keys: Sequence[bytes]) -> list[str]:
        """The events' ids: the same whenever a document is read again for this backfill."""
        start = f"{self._backfill}\0{self._namespace.db}\0{self._namespace.coll}\0"
        return hashed_ids([start + key.hex() for key in keys])


def _decoded(raw: Sequence[bytes], cursor: RawBSONDocument) -> Sequence[dict[str, Any] | Exception]:
    """The documents `raw`, which a reply's `cursor` begins with; an error in place of one that cannot be decoded."""
    if len(raw) < len(cursor["firstBatch"]):  # the rest may be large
        return [_decode(each) for each in raw]
    try:
        documents: list[dict[str, Any]] = bson.decode(cursor.raw, VALUES)["firstBatch"]  # twice as fast as one by one
    except Exception:  # bson raises many kinds
        return [_decode(each) for each in raw]
    return documents


def _decode(data: bytes) -> dict[str, Any] | Exception:
    try:
        return bson.decode(data, VALUES)
    except Exception as error:  # see above
        return error


def _within(count: int) -> dict[str, int]:
    return {"maxTimeMS": _MS if count > 1 else _MS_ALONE}


def _failure(error: PyMongoError) -> ReadFailure:
    code = error.code if isinstance(error, OperationFailure) else None
    if code in _TOO_OLD:
        return ReadFailure.FURTHER_ON
    if kind_of(error) is Kind.TOO_LARGE or code == _EXPIRED:
        return ReadFailure.FEWER
    return ReadFailure.NEVER if is_permanent(error) else ReadFailure.LATER


def _undecodable(error: Exception) -> str:
    return f"the document cannot be decoded: {type(error).__name__}: {error}"


def _wall_time(at: Timestamp) -> datetime:
    return datetime.fromtimestamp(at.time, timezone.utc).replace(tzinfo=None)
