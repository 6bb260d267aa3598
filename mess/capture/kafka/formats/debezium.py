"""What Debezium's connector for MongoDB writes, and our own `format: debezium`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from bson import Timestamp

from mess.capture.kafka.formats.envelope import unwrapped
from mess.capture.kafka.formats.extended_json import java, loads, milliseconds
from mess.capture.kafka.formats.not_readable import NotReadable

_OPERATIONS = {"c": "insert", "u": "update", "d": "delete", "r": "read"}
_CONNECTOR = re.compile(r"[a-z0-9_-]{1,20}")
_KEY = "Set the connector's key.converter to org.apache.kafka.connect.json.JsonConverter"


def is_event(body: dict[str, Any]) -> bool:
    """Whether it looks like an event of Debezium's, of any of its connectors."""
    return "op" in body and "source" in body


def is_housekeeping(body: dict[str, Any]) -> bool:
    """Whether it is what Debezium writes besides events: a heartbeat, a transaction's begin or end, a notification."""
    if len(body) == 1:
        return "ts_ms" in body
    return ("status" in body and "event_count" in body) or ("aggregate_type" in body and "additional_data" in body)


def event(body: dict[str, Any], key: bytes | None) -> dict[str, Any]:
    """The change event in a record of Debezium's.

    The resume token is not in it, nor a shard key. Raises NotReadable, and errors of other kinds.
    """
    source, update = body["source"], body.get("updateDescription")
    connector = source.get("connector")
    if connector != "mongodb":
        named = repr(connector) if connector.__class__ is str and _CONNECTOR.fullmatch(connector) else "something else"
        raise NotReadable(f"Debezium's connector for {named} wrote it, and not the one for MongoDB")
    ns = {"db": source["db"], "coll": source["collection"]}
    operation = _OPERATIONS.get(body["op"])
    if operation is None:
        raise NotReadable("its op is none that Debezium's connector for MongoDB writes (c, u, d, r)", {"ns": ns})
    before, after = _document(body.get("before")), _document(body.get("after"))
    if operation == "update" and update is None and after is not None:
        operation = "replace"
    change: dict[str, Any] = {"operationType": operation, **_times(source)}
    if after is not None:
        change["fullDocument"] = after
    change |= {"ns": ns, "documentKey": {"_id": _id(key, before, after)}}
    if update is not None:
        change["updateDescription"] = _update(update)
    if before is not None:
        change["fullDocumentBeforeChange"] = before
    if source.get("lsid") is not None:
        change |= {"lsid": _document(source["lsid"]), "txnNumber": source.get("txnNumber")}
    return change


def _document(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    document = loads(value) if value.__class__ is str else value
    if document.__class__ is not dict:
        raise NotReadable("before, after or updatedFields is no document in Extended JSON")
    return java(document)


def _id(key: bytes | None, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Any:
    for document in (after, before):  # they preserve types better than the key
        if document is not None and "_id" in document:
            return document["_id"]
    try:
        found = unwrapped(key or b"")
        return java({"_id": loads(found["id"])})["_id"]
    except (KeyError, TypeError, ValueError):
        raise NotReadable(f"neither its key nor its value has the document's _id. {_KEY}") from None


def _update(description: dict[str, Any]) -> dict[str, Any]:
    truncated = description.get("truncatedArrays") or ()
    return {
        "updatedFields": _document(description.get("updatedFields")) or {},
        "removedFields": description.get("removedFields") or [],
        "truncatedArrays": [{"field": each["field"], "newSize": each["size"]} for each in truncated],
    }


def _times(source: dict[str, Any]) -> dict[str, Any]:
    """The cluster time and the wall time, as far as they are known. The former's seconds are those of `ts_ms`, which
    Debezium takes from either."""
    found: dict[str, Any] = {}
    seconds, increment, wall = source.get("ts_ms"), source.get("ord"), source.get("wallTime")
    if seconds and increment is not None:
        with suppress(TypeError, ValueError):
            found["clusterTime"] = Timestamp(seconds // 1000, increment)
    if wall:
        with suppress(TypeError, ValueError, OverflowError):
            found["wallTime"] = milliseconds(wall)
    return found
