"""Events: the identity of an event never changes; its body may be replaced by steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple

from bson import Timestamp

from mess.ids import hashed_ids

Encoder = Callable[["Event"], bytes]
"""Encodes an event into the bytes that a sink sends."""

Document = Literal["exact", "lookup", "missing"]
"""What an event carries of its document: its state right after the change, its state when MongoDB looked it up later,
or nothing."""
_LEAVES_A_DOCUMENT = frozenset({"insert", "update", "replace", "read"})


GAP = "mess.gap"
"""The operation of an event that reports a gap to receivers; MongoDB itself sends none like it."""


class Namespace(NamedTuple):
    """A database and a collection; the collection is empty for events of a whole database."""

    db: str
    coll: str = ""

    def __str__(self) -> str:
        return f"{self.db}.{self.coll}" if self.coll else self.db


class Position(NamedTuple):
    """Where to resume reading a source.

    `token` is the source's own: nobody else looks into it, and the state stores it as it is. `time` is the cluster time
    that everything before the position was committed by, None if the source does not know it.
    """

    token: Mapping[str, Any] | None
    time: Timestamp | None


def token_time(token: Mapping[str, Any], time: object = None) -> Timestamp | None:
    """The cluster time in a resume token; else `time` if it is one, else None.

    A token's `_data` is a hex key string that begins with 0x82 and the cluster time as two big-endian 32-bit numbers
    (MongoDB's `ResumeToken`).
    """
    data = token.get("_data")
    if isinstance(data, str) and data.startswith("82"):
        with suppress(ValueError):
            return Timestamp(int(data[2:10], 16), int(data[10:18], 16))
    return time if isinstance(time, Timestamp) else None


_EPOCH = datetime(1970, 1, 1)


def commit_time(event: Event) -> float | None:
    """When a change was committed, in seconds since the epoch on MongoDB's server; None if unknown.

    To the millisecond from MongoDB 6.0 on, which sends `wallTime`; before, in whole seconds.
    """
    change = event.change
    wall = change.get("wallTime")
    if wall.__class__ is datetime and wall.tzinfo is None:
        return (wall - _EPOCH).total_seconds()
    time = change.get("clusterTime")
    return float(time.time) if isinstance(time, Timestamp) else None


def event_id(token: Mapping[str, Any]) -> str:
    """The id of the change with this resume token; it never changes."""
    return event_ids([token])[0]


def event_ids(tokens: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of changes, given their resume tokens; derived from a token's `_data` alone. Much cheaper for many at
    once."""
    data = [token.get("_data", token) for token in tokens]
    return hashed_ids([text if isinstance(text, str) else repr(text) for text in data])


def document_of(change: Mapping[str, Any], looked_up: bool | None) -> Document | None:
    """What a change carries of its document; `looked_up` is that of the event.

    None if no document exists after the change, as after a delete or a drop, or if it is unknown how an update got its
    document.
    """
    operation = change.get("operationType")
    if operation not in _LEAVES_A_DOCUMENT:
        return None
    if change.get("fullDocument") is None:
        return "missing"
    if operation != "update":
        return "exact"
    return None if looked_up is None else "lookup" if looked_up else "exact"


class Event:
    """A change in MongoDB on its way through a pipeline.

    `id` is the same on every attempt, after every restart and on replay. `change` is the change event as MongoDB sent
    it (BSON types and all) and is never altered. `body` starts as the same object; a step *replaces* it
    (`event.body = {…}`) and never mutates it. `operation` is MongoDB's `operationType`; `key` its `documentKey` (None
    for events of a whole collection or database); `size` its length in bytes of BSON; `replay` says whether it is
    delivered again on purpose. `ordering_key` is set on the way into a pipeline: events with the same number are
    delivered in their order. `looked_up` says whether an update's `fullDocument` is the result of a later lookup; None
    if that is unknown.
    """

    backfill: str = ""
    """The id of the backfill that asked for an existing document; empty for changes."""
    only: str | None = None
    """The one step that an existing document is for; None for all."""

    __slots__ = (
        "_encoded",
        "body",
        "change",
        "done",
        "id",
        "key",
        "looked_up",
        "namespace",
        "operation",
        "ordering_key",
        "replay",
        "size",
    )

    def __init__(
        self,
        change: dict[str, Any],
        namespace: Namespace,
        size: int = 0,
        *,
        token: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the attribute's name
        looked_up: bool | None = None,
    ) -> None:
        self.change = self.body = change
        self.namespace = namespace
        self.size = size
        self.id = id or event_id(change["_id"] if token is None else token)
        self.operation: str = change["operationType"]
        self.key: Mapping[str, Any] | None = change.get("documentKey")
        self.ordering_key = 0
        self.done = False
        self.replay = False
        self.looked_up = looked_up
        self._encoded: tuple[Encoder, dict[str, Any], bytes] | None = None

    @property
    def document(self) -> Document | None:
        """What the change carries of the document, whatever steps have made of the body; see `document_of`."""
        return document_of(self.change, self.looked_up)

    def encode(self, encoder: Encoder) -> bytes:
        """The body as encoded by `encoder`; cached until the body is replaced."""
        kept = self._encoded
        if kept is not None and kept[0] is encoder and kept[1] is self.body:
            return kept[2]
        data = encoder(self)
        self._encoded = (encoder, self.body, data)
        return data

    def __repr__(self) -> str:
        return f"<Event {self.id} {self.operation} {self.namespace}>"
