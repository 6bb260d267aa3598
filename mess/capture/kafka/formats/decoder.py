"""From Kafka's records to events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import bson
from bson.errors import BSONError

from mess.capture.decode import VALUES, Namespaces, checked
from mess.capture.kafka.formats.not_readable import NotReadable
from mess.capture.kafka.formats.record_format import is_bson, read
from mess.capture.kafka.record import Decoder, ExistingDocument, KafkaEvent, Record, position
from mess.capture.source import Unreadable
from mess.event import event_ids
from mess.ids import hashed_id, hashed_ids, is_id

_ID = "mess-id"
_BACKFILL = re.compile(r"[\w.-]{1,64}", re.ASCII)
_UNKNOWN = "-"
"""Stands for an id that is not known yet."""
_LOOKED_UP = {b"exact": False, b"lookup": True}
_TOGETHER = 8 * 1024 * 1024
"""How many bytes are decoded in one call at most."""
_Headers = Mapping[str, bytes | None]


def decoder(format: str) -> Decoder:  # noqa: A002 - the option's name
    """The decoder for an option `source.kafka.format`: `auto`, `mess`, `debezium` or `mongodb`."""
    return RecordDecoder(format)


class RecordDecoder:
    """See `Decoder`.

    An event's id is the one that the record gives; else that of the change's resume token, as anywhere; else it
    identifies the record. It never depends on the content: the same change may well be made twice.
    """

    def __init__(self, format: str) -> None:  # noqa: A002 - see above
        self._format = format
        self._namespaces = Namespaces()

    def events(self, records: Sequence[Record]) -> tuple[list[KafkaEvent], list[Unreadable]]:
        """See `Decoder`."""
        events: list[KafkaEvent] = []
        unreadable: list[Unreadable] = []
        by_token: list[KafkaEvent] = []
        by_place: list[tuple[KafkaEvent, str]] = []
        format_ = self._format
        for record, body in zip(records, _decoded_together(records), strict=False):
            try:
                headers = _headers(record)
                change = read(record, format_, ours=_ID in headers, body=body)
                if change is None:
                    continue
                event = self._event(record, headers, change)
            except Exception as error:  # a record may hold anything
                unreadable.append(_unreadable(record, error))
                continue
            events.append(event)
            if event.id == _UNKNOWN:
                if _has_token(change):
                    by_token.append(event)
                else:
                    by_place.append((event, _place(record)))
        # Much cheaper for many at once.
        if by_token:
            ids = event_ids([event.change["_id"] for event in by_token])
            for event, id_ in zip(by_token, ids, strict=True):
                event.id = id_
        if by_place:
            for (event, _), id_ in zip(by_place, hashed_ids([place for _, place in by_place]), strict=True):
                event.id = id_
        return events, unreadable

    def _event(self, record: Record, headers: _Headers, change: dict[str, Any]) -> KafkaEvent:
        """The event for a record's change. Raises NotReadable."""
        event: KafkaEvent
        size = len(record.value or b"")
        id_ = _given_id(headers)
        try:
            ns = change["ns"]
            namespace = self._namespaces[ns["db"], ns.get("coll", "")]
            if backfill := _backfill(headers):
                event = ExistingDocument(change, namespace, size, id=id_)
                event.backfill = backfill
            else:
                looked_up = _LOOKED_UP.get(headers.get("mess-document") or b"")
                event = KafkaEvent(change, namespace, size, id=id_, looked_up=looked_up)
            checked(event)
        except (AttributeError, KeyError, TypeError):
            raise NotReadable(
                "it is no change event as MongoDB sends it, with operationType, ns and documentKey", change
            ) from None
        event.next_offset = record.offset + 1
        if "mess-replay" in headers:
            event.replay = True
        return event


def _decoded_together(records: Sequence[Record]) -> Iterable[dict[str, Any] | None]:
    """The records' values, if all are BSON; else None for each. Takes two thirds of the time of decoding each."""
    values = [record.value for record in records]
    if not all(map(is_bson, values[:1])) or not all(map(is_bson, values)):
        return repeat(None)
    data = b"".join([value or b"" for value in values])
    if len(data) > _TOGETHER:
        return repeat(None)
    try:
        return bson.decode_all(data, VALUES)
    except BSONError:  # which one it is will be found out
        return repeat(None)


def _headers(record: Record) -> _Headers:
    if record.headers is None:
        raise NotReadable("the name of one of its headers is not UTF-8. Let its producer leave that header out")
    return dict(record.headers)


def _backfill(headers: _Headers) -> str:
    """The id of the backfill that the headers name; empty if they name none, or what cannot be one: it becomes a header
    again."""
    text = (headers.get("mess-backfill") or b"").decode("ascii", "replace")
    return text if _BACKFILL.fullmatch(text) else ""


def _given_id(headers: _Headers) -> str:
    text = (headers.get(_ID) or b"").decode("ascii", "replace")
    return text if is_id(text) else _UNKNOWN


def _has_token(change: dict[str, Any]) -> bool:
    token = change.get("_id")
    return token.__class__ is dict and isinstance(token.get("_data"), (str, bytes))


def _place(record: Record) -> str:
    """Identifies a record. Offsets begin again when a topic is created anew; the timestamp tells these apart."""
    return f"kafka\0{record.topic}\0{record.partition}\0{record.offset}\0{record.timestamp}"


def _unreadable(record: Record, error: Exception) -> Unreadable:
    if isinstance(error, NotReadable):
        reason, change = str(error), _known(error.change)
    elif isinstance(error, RecursionError):
        reason, change = "it is nested too deeply", {}
    else:
        reason, change = f"it cannot be decoded ({type(error).__name__})", {}
    change["record"] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    after = position(record.topic, record.partition, record.offset + 1)
    # Gaps with the same reason are one, so it does not name the record.
    return Unreadable(after, f"a record cannot be read: {reason}", id=hashed_id(_place(record)), change=change)


def _known(change: dict[str, Any]) -> dict[str, Any]:
    """Those of a change's fields that are as they should be."""
    known: dict[str, Any] = {}
    if isinstance(change.get("operationType"), str):
        known["operationType"] = change["operationType"]
    ns = change.get("ns")
    if isinstance(ns, dict) and isinstance(ns.get("db"), str) and isinstance(ns.get("coll", ""), str):
        known["ns"] = {name: ns[name] for name in ("db", "coll") if name in ns}
    if isinstance(change.get("documentKey"), dict):
        known["documentKey"] = change["documentKey"]
    return known
