"""Decodes a server's replies into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bson
from bson import DatetimeConversion
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from mess.capture.source import Unreadable
from mess.capture.tokens import position_of
from mess.errors import SourceError
from mess.event import Event, Namespace, Position, event_ids

# Dates beyond Python's years and invalid UTF-8 must not make a whole reply unreadable. Dates stay naive (UTC), which
# takes a quarter of the time; users' functions get them with a time zone.
VALUES: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)
RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)
"""For commands whose reply goes to `Decoder.events`."""


_NAMESPACES_KEPT = 10_000


class Namespaces(dict[tuple[str, str], Namespace]):
    """Namespaces by the names of database and collection, one object for each. Looking up what is no name raises
    TypeError."""

    def __missing__(self, key: tuple[str, str]) -> Namespace:
        if not all(isinstance(name, str) for name in key):
            raise TypeError("ns holds what is no name")
        if len(self) >= _NAMESPACES_KEPT:
            self.clear()
        return self.setdefault(key, Namespace(*key))


class Decoder:
    """Decodes the documents in a cursor's replies into events, for one stream and in order.

    `pending` holds the fragments so far of a large event that MongoDB has split (`$changeStreamSplitLargeEvent`).
    `database` is the stream's, or empty: an event without a namespace belongs to that database as a whole. `looked_up`
    is that of all its events.
    """

    def __init__(self, database: str = "", *, looked_up: bool | None = None) -> None:
        self._database = database
        self._looked_up = looked_up
        self.pending: list[dict[str, Any]] = []
        self._namespaces = Namespaces()

    def events(self, cursor: RawBSONDocument) -> tuple[list[Event], list[Unreadable], int]:
        """The events of a reply's `cursor`, those that cannot be decoded, and their mean size in bytes of BSON.

        Raises SourceError for a change that does not even contain the position after it.
        """
        pending = list(self.pending)
        try:
            return self._together(cursor)
        # bson raises many kinds, and a change may lack anything: decoding one by one finds the bad ones
        except Exception:
            self.pending = pending
            return self._one_by_one(cursor["nextBatch"])

    def _together(self, cursor: RawBSONDocument) -> tuple[list[Event], list[Unreadable], int]:
        documents: Sequence[dict[str, Any]] = bson.decode(cursor.raw, VALUES)["nextBatch"]
        size = len(cursor.raw) // len(documents) if documents else 0
        events: list[Event] = []
        namespaces, looked_up = self._namespaces, self._looked_up
        ids = event_ids([change["_id"] for change in documents])
        for change, id_ in zip(documents, ids, strict=True):
            ns = change.get("ns")
            if ns is None or "splitEvent" in change:
                made = self._event(change, size)
            else:
                namespace = namespaces[ns["db"], ns.get("coll", "")]
                made = checked(Event(change, namespace, size, id=id_, looked_up=looked_up))
            if made is not None:
                events.append(made)
        return events, [], size

    def _one_by_one(self, documents: Sequence[RawBSONDocument]) -> tuple[list[Event], list[Unreadable], int]:
        events: list[Event] = []
        unreadable: list[Unreadable] = []
        for document in documents:
            try:
                made = self._event(bson.decode(document.raw, VALUES), len(document.raw))
            except Exception as error:
                self.pending = []
                reason = f"the change event cannot be decoded: {type(error).__name__}: {error}"
                unreadable.append(Unreadable.at(_position(document), reason))
            else:
                if made is not None:
                    events.append(made)
        size = sum(len(document.raw) for document in documents)
        return events, unreadable, size // max(1, len(documents))

    def _event(self, change: dict[str, Any], size: int) -> Event | None:
        token = None
        if "splitEvent" in change:
            self.pending.append(change)
            if change["splitEvent"]["fragment"] < change["splitEvent"]["of"]:
                return None
            if len(self.pending) < change["splitEvent"]["of"]:
                raise ValueError("it has been split, and not all of its fragments are there")
            # The id is the first fragment's, the position after the event is the last one's.
            token = self.pending[0]["_id"]
            change = _joined(self.pending)
            size *= len(self.pending)
            self.pending = []
        if change["operationType"] == "invalidate":
            return None  # it concerns the stream, not data: the stream reopens after it
        if "ns" in change or "documentKey" in change:
            key = (change["ns"]["db"], change["ns"].get("coll", ""))
        else:
            key = (self._database, "")
        return checked(Event(change, self._namespaces[key], size, token=token, looked_up=self._looked_up))


def checked(event: Event) -> Event:
    """Check an event as far as the relay depends on it; raises TypeError for one that MongoDB would not send."""
    if event.operation.__class__ is not str or not (event.key is None or event.key.__class__ is dict):
        raise TypeError("operationType must be text, and documentKey a document")
    if event.operation == "rename":
        target = event.change.get("to", {})
        if not all(isinstance(target.get(name, ""), str) for name in ("db", "coll")):
            raise TypeError("to holds what is no name")
    return event


def _position(document: RawBSONDocument) -> Position:
    try:
        try:
            raw, time = document["_id"].raw, document.get("clusterTime")
        except InvalidBSON:  # in any of its fields
            raw, time = _leading_token(bytes(document.raw)), None
        token: dict[str, Any] = bson.decode(raw, VALUES)
        return position_of(token, time)
    except Exception as error:  # see above
        raise SourceError(
            "MongoDB sends a change without a resume token (_id), so it is unknown where to continue; is this "
            "MongoDB, or a server that emulates it?"
        ) from error


def _leading_token(change: bytes) -> bytes:
    """The resume token of a change that cannot be taken apart: MongoDB writes it first."""
    if not change.startswith(b"\x03_id\x00", 4):
        raise InvalidBSON("the first field is not _id")
    return change[9 : 9 + int.from_bytes(change[9:13], "little")]


def _joined(fragments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for fragment in fragments:
        whole.update(fragment)
    del whole["splitEvent"]
    return whole
