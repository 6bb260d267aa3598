"""Events of a case, from Extended JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timezone
from typing import Any

import bson
from bson import DatetimeConversion, json_util

from mess.capture.decode import VALUES
from mess.capture.existing_documents import ReadEvent
from mess.config.model import Config
from mess.config.operations import READ
from mess.config.scope import resolve
from mess.event import Event, Namespace
from mess.ids import hashed_id

_OPTIONS = json_util.JSONOptions(tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_EXAMPLE = "ns: {db: shop, coll: orders}"


def event_of(data: Mapping[str, Any], number: int, config: Config) -> Event:
    """The event for a case's entry, which is its `number`th: a change event, or a dead letter.

    Raises ValueError, with the fix, if it is neither.
    """
    letter = data if "operationType" not in data and isinstance(data.get("event"), dict) else None
    change = _decoded(data if letter is None else letter["event"])
    namespace = _checked(change)
    size = len(bson.encode(change))
    # A letter's id is the original: a large event that MongoDB had split has the token of its last part.
    id_ = str(letter["id"]) if letter is not None and "id" in letter else None
    if id_ is None and not isinstance(change.get("_id"), dict):
        id_ = hashed_id(f"event {number}")
    if change["operationType"] == READ:
        event = ReadEvent(change, namespace, size, id=id_ or hashed_id(f"event {number}"))
        event.backfill = str((letter or {}).get("backfill") or "")
        return event
    return Event(change, namespace, size, id=id_, looked_up=_looked_up(letter, namespace, config))


def _looked_up(letter: Mapping[str, Any] | None, namespace: Namespace, config: Config) -> bool | None:
    if letter is not None:
        return {"lookup": True, "exact": False}.get(str(letter.get("document")))
    options = resolve(config, *namespace)
    return options is None or options.full_document == "update_lookup"


def _decoded(data: Mapping[str, Any]) -> dict[str, Any]:
    """The change with BSON's types, as a stream would decode it."""
    try:
        value = json_util.loads(json.dumps(_prepared(data)), json_options=_OPTIONS)
        return bson.decode(bson.encode(value), VALUES)
    except Exception as error:  # json_util raises many kinds
        raise ValueError(f"is not a document in Extended JSON: {error}") from error


def _prepared(value: Any, name: str = "") -> Any:
    """The same, with Extended JSON for times, which YAML reads without quotes, in `$date` or by themselves.

    Raises ValueError for an `$oid` that is no text: for null, json_util makes a new id each time.
    """
    if name == "$oid" and not isinstance(value, str):
        raise ValueError("$oid needs 24 hexadecimal digits, in quotes")
    if isinstance(value, Mapping):
        return {key: _prepared(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_prepared(inner) for inner in value]
    if not isinstance(value, date):
        return value
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    utc = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    text = utc.isoformat(timespec="milliseconds")
    return text if name == "$date" else {"$date": text}


def _checked(change: Mapping[str, Any]) -> Namespace:
    operation, ns, key = change.get("operationType"), change.get("ns"), change.get("documentKey")
    if not isinstance(operation, str):
        raise ValueError("is not a change event; it needs an operationType, as in operationType: insert")
    if operation == "invalidate":
        raise ValueError("invalidate concerns the change stream, and is never delivered; remove it")
    if "splitEvent" in change:
        raise ValueError("is a part of an event that MongoDB has split; join the parts, and remove splitEvent")
    if not isinstance(ns, dict) or not isinstance(ns.get("db"), str) or not isinstance(ns.get("coll", ""), str):
        raise ValueError(f"needs a namespace, as in {_EXAMPLE}")
    if key is not None and not isinstance(key, dict):
        raise ValueError("documentKey must be a document, as in documentKey: {_id: 1}")
    return Namespace(ns["db"], ns.get("coll", ""))
