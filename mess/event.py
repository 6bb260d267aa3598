"""What flows through a pipeline: an event, whose identity never changes and whose body steps may replace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from bson import Timestamp

Encoder = Callable[["Event"], bytes]
"""Turns an event into the bytes that a sink sends."""


class Namespace(NamedTuple):
    """A database and a collection; the collection is empty for events of a whole database."""

    db: str
    coll: str = ""

    def __str__(self) -> str:
        return f"{self.db}.{self.coll}" if self.coll else self.db


class Position(NamedTuple):
    """Where to go on reading: MongoDB's resume token, and the cluster time for when the token is of no use."""

    token: Mapping[str, Any] | None
    time: Timestamp | None

    @classmethod
    def of(cls, token: Mapping[str, Any], time: Timestamp | None = None) -> Position:
        """The position that a resume token stands for.

        A token's `_data` is a hex key string that begins with 0x82 and the cluster time as two big-endian 32-bit
        numbers (MongoDB's `ResumeToken`). Where it is not, as on servers that only speak MongoDB's protocol, `time`
        is taken.
        """
        data = token.get("_data")
        if isinstance(data, str) and data.startswith("82"):
            with suppress(ValueError):
                time = Timestamp(int(data[2:10], 16), int(data[10:18], 16))
        return cls(token, time)


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
_SHIFTS = tuple(range(250, -1, -10))


def hashed_id(text: str) -> str:
    """`msg_` and the base32 (RFC 4648, without padding) of the SHA-256 of `text`."""
    # The standard library's base32 takes twice as long, which was a tenth of the relay's whole work on an event.
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") << 4
    pairs = _PAIRS
    return "msg_" + "".join([pairs[number >> shift & 1023] for shift in _SHIFTS])


def event_id(token: Mapping[str, Any]) -> str:
    """`msg_` and the base32 of the SHA-256 of the token's `_data`: the same for one change, for ever.

    An id without dots, as Standard Webhooks 1.0.0 asks for.
    """
    data = token.get("_data", token)
    return hashed_id(data if isinstance(data, str) else repr(data))


class Event:
    """A change in MongoDB on its way through a pipeline.

    `change` is the change event as MongoDB sent it (BSON types and all) and is never altered. `body` starts as the
    same object; a step *replaces* it (`event.body = {…}`) and never mutates it. `operation` is MongoDB's
    `operationType`; `key` its `documentKey` (None for events of a whole collection or database); `size` its length in
    bytes of BSON; `replay` tells that it is delivered again on purpose.
    """

    __slots__ = (
        "_encoded",
        "_id",
        "body",
        "change",
        "done",
        "key",
        "namespace",
        "operation",
        "replay",
        "size",
        "token",
    )

    def __init__(
        self, change: dict[str, Any], namespace: Namespace, size: int = 0, *, token: Mapping[str, Any] | None = None
    ) -> None:
        self.change = self.body = change
        self.namespace = namespace
        self.size = size
        self.token: Mapping[str, Any] = change["_id"] if token is None else token
        self.operation: str = change["operationType"]
        self.key: Mapping[str, Any] | None = change.get("documentKey")
        self.done = False
        self.replay = False
        self._id: str | None = None
        self._encoded: tuple[Encoder, dict[str, Any], bytes] | None = None

    @property
    def id(self) -> str:
        """The event's id: the same on every attempt, after every restart and on replay."""
        if self._id is None:
            self._id = event_id(self.token)
        return self._id

    @property
    def position(self) -> Position:
        """Where to go on reading after this event."""
        return Position.of(self.change["_id"], self.change.get("clusterTime"))

    def encode(self, encoder: Encoder) -> bytes:
        """The body as `encoder` writes it; worked out once and kept until the body is replaced."""
        kept = self._encoded
        if kept is not None and kept[0] is encoder and kept[1] is self.body:
            return kept[2]
        data = encoder(self)
        self._encoded = (encoder, self.body, data)
        return data

    def __repr__(self) -> str:
        return f"<Event {self.id} {self.operation} {self.namespace}>"
