"""Events in the format of Debezium's MongoDB connector, without schemas (`schemas.enable: false`), so that its
consumers can read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import orjson
from bson import Timestamp
from pydantic import Field

from mess.event import Encoder, Event
from mess.formats.base import Envelope, FormatOptions, Write
from mess.formats.java_json import milliseconds, relaxed, relaxed_spaced, strict

VERSION = "3.6.1.Final"
"""The version of Debezium whose format this is."""

_OPERATIONS = {"insert": "c", "update": "u", "replace": "u", "delete": "d", "read": "r"}


class Debezium(FormatOptions):
    """Debezium source."""

    own_json: ClassVar[bool] = True

    name: str | None = Field(None, min_length=1)
    """`source.name`, which is `topic.prefix` in Debezium's own config. Default: the relay's name."""

    def envelope(self, write: Write, relay: str) -> Envelope:
        """See `FormatOptions`."""
        return Envelope(encoder(self.name or relay), key=key, carries=carries, varying=("ts_ms",))


def carries(event: Event) -> bool:
    """Whether Debezium has a format for the event; it has none for events of whole collections and databases."""
    return event.operation in _OPERATIONS


def key(event: Event) -> str | None:
    """The key of the event's record: `{"id": …}` with the document's `_id` as Extended JSON. None without a
    document."""
    if event.key is None:
        return None
    return orjson.dumps({"id": relaxed(event.key.get("_id"))}).decode()


def encoder(name: str) -> Encoder:
    """Return a function that encodes events for which Debezium has a format; `name` is Debezium's `topic.prefix`.

    Documents and updated fields are taken from the body, everything else from the change event. The encoder raises
    ValueError for a new body built by a step, which contains neither.
    """

    def encode(event: Event) -> bytes:
        body = event.body
        if "operationType" not in body:
            raise ValueError("format: debezium needs a change event, but an earlier step has replaced the body")
        return orjson.dumps(
            {
                "before": _document(body.get("fullDocumentBeforeChange")),
                "after": None if event.operation == "delete" else _document(body.get("fullDocument")),
                "updateDescription": _update(body.get("updateDescription")),
                "source": _source(event, name),
                "op": _OPERATIONS[event.operation],
                "ts_ms": time.time_ns() // 1_000_000,
                "transaction": None,
            }
        )

    return encode


def _document(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else strict(value)


def _update(description: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if description is None:
        return None
    truncated = description.get("truncatedArrays") or ()
    return {
        "removedFields": description.get("removedFields") or None,
        "updatedFields": relaxed_spaced(description.get("updatedFields") or {}),
        "truncatedArrays": [{"field": one["field"], "size": one["newSize"]} for one in truncated] or None,
    }


def _source(event: Event, name: str) -> dict[str, Any]:
    change = event.change
    read = event.operation == "read"
    # Debezium gives existing documents no time by the server's clock.
    wall, logical = None if read else change.get("wallTime"), change.get("clusterTime")
    when = wall_time = milliseconds(wall) if isinstance(wall, datetime) else None
    if when is None and isinstance(logical, Timestamp):
        when = logical.time * 1000
    return {
        "version": VERSION,
        "connector": "mongodb",
        "name": name,
        "ts_ms": when,
        "snapshot": "incremental" if read else "false",
        "db": event.namespace.db,
        "sequence": None,
        "ts_us": _finer(when, 1_000),
        "ts_ns": _finer(when, 1_000_000),
        "collection": event.namespace.coll,
        "ord": logical.inc if isinstance(logical, Timestamp) else None,
        "lsid": _document(change.get("lsid")),
        "txnNumber": change.get("txnNumber"),
        "wallTime": wall_time,
    }


def _finer(milliseconds: int | None, parts: int) -> int | None:
    """A time in units of which `parts` make a millisecond; None if it does not fit into 64 bits."""
    if milliseconds is None or not -(2**63) <= milliseconds * parts < 2**63:
        return None
    return milliseconds * parts
