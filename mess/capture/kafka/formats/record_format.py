"""Recognises how a record is written."""

from __future__ import annotations

from typing import Any

import bson
from bson.errors import BSONError

from mess.capture.decode import VALUES
from mess.capture.kafka.formats import connector, debezium, own
from mess.capture.kafka.formats.envelope import unwrapped
from mess.capture.kafka.formats.not_readable import NotReadable
from mess.capture.kafka.record import Record

_NAMES = {
    "mess": "MESS's queue step",
    "debezium": "Debezium's MongoDB connector",
    "mongodb": "MongoDB's Kafka connector",
}
_SETTINGS = (
    "In a relay of MESS, take field-map and function out of the pipeline before the queue step; in Debezium's "
    "connector, remove transforms such as ExtractNewDocumentState; in MongoDB's connector, set "
    "publish.full.document.only to false"
)
_FLATTENED = (
    "Debezium's transformation ExtractNewDocumentState has replaced the change event. Remove it from the connector's "
    "transforms"
)
_JSON_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"
_SCHEMA_ID = 5  # bytes: 0, and the schema's number in the registry


def is_bson(value: bytes | None) -> bool:
    """Whether a record's value can only be BSON: it begins with its own length, and ends with 0."""
    return value is not None and value[-1:] == b"\0" and int.from_bytes(value[:4], "little") == len(value)


def read(
    record: Record,
    format: str,  # noqa: A002 - the option's name
    *,
    ours: bool,
    body: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """The change event in a record; None if it has none and needs none, as a tombstone. `ours` says whether the headers
    are those of the queue step; `body` is the value, if it is BSON and decoded already.

    Raises NotReadable for other records without one, and errors of many kinds for damaged ones.
    """
    value, typed = record.value, body is not None
    if body is None:
        if value is None:
            if ours:
                raise NotReadable(
                    "it is a deletion without the change event. Remove `tombstones: true` from the queue step of the "
                    "relay that wrote it"
                )
            return None
        typed = is_bson(value)
        body = _bson(value) if typed else _json(value)
        if body is None:
            return None
    if "operationType" in body:
        if ours or format == "mess":
            _expect(format, "mess", "mongodb")
            return body if typed else own.event(body)
        _expect(format, "mongodb")
        return connector.event(body, typed=typed)
    if "specversion" in body:
        _expect(format, "mess")
        return own.cloud_event(body)
    if debezium.is_event(body):
        _expect(format, "debezium", *(["mess"] if ours else []))
        return debezium.event(body, record.key)
    if debezium.is_housekeeping(body):
        return None
    raise NotReadable(_why_not(body, ours=ours))


def _expect(format: str, *writers: str) -> None:  # noqa: A002 - see above
    """Raises NotReadable if the option excludes what a record looks like."""
    if format != "auto" and format not in writers:
        raise NotReadable(
            f"it was written by {_NAMES[writers[0]]}, but the option format is {format}. Set it to auto or {writers[0]}"
        )


def _bson(value: bytes) -> dict[str, Any]:
    try:
        return bson.decode(value, VALUES)
    except BSONError as error:
        raise NotReadable("its value is BSON that cannot be decoded") from error


def _json(value: bytes) -> dict[str, Any] | None:
    if value[:1] == b"\0":
        if value[_SCHEMA_ID : _SCHEMA_ID + 1] != b"{":
            raise NotReadable(
                "its value is Avro or Protobuf of a schema registry. Set the connector's value.converter to "
                f"{_JSON_CONVERTER}"
            )
        value = value[_SCHEMA_ID:]  # Confluent's JsonSchemaConverter
    try:
        body = unwrapped(value)
    except ValueError as error:
        raise NotReadable(
            f"its value is neither JSON nor BSON. Set the connector's value.converter to {_JSON_CONVERTER}, or with "
            "output.format.value: bson to org.apache.kafka.connect.converters.ByteArrayConverter"
        ) from error
    if body is not None and body.__class__ is not dict:
        raise NotReadable(f"its value is JSON, but no object. {_SETTINGS}")
    return body


def _why_not(body: dict[str, Any], *, ours: bool) -> str:
    """Why an object is no change event."""
    if ours:
        return f"its value is no change event: {own.REPLACED}"
    if any(name in body for name in ("__op", "__deleted", "__source_ts_ms", "__collection")):
        return f"its value is no change event: {_FLATTENED}"
    return f"its value is JSON, but neither a change event nor one of Debezium's. {_SETTINGS}"
