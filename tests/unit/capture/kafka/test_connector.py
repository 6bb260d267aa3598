"""What MongoDB's Kafka source connector writes is the same event as MESS's own, by samples after its docs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId, Timestamp

from mess.formats import bson_json, java_json
from tests.unit.capture.kafka.records import decode, record, refused, sent
from tests.unit.capture.kafka.test_own import VALUES, change

OID = ObjectId("65f0a1b2c3d4e5f601020304")
SIMPLIFIED = (
    b'{"_id": {"_data": "826B03DE00000000032B022C0100296E5A1004"}, "operationType": "insert", '
    b'"clusterTime": {"$timestamp": {"t": 1795415552, "i": 3}}, "wallTime": "2026-11-23T06:32:32.987Z", '
    b'"fullDocument": {"_id": "65f0a1b2c3d4e5f601020304", "n": 5, "at": "2026-01-31T12:00:00Z"}, '
    b'"ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": "65f0a1b2c3d4e5f601020304"}}'
)
SAFE = {name: item for name, item in VALUES.items() if name not in ("query", "$date")}
"""Without documents that the older form of Extended JSON cannot tell from types."""


def strict(changes: dict[str, Any]) -> bytes:
    """As the connector's DefaultJson writes it."""
    return java_json.strict(changes).encode()


@pytest.mark.parametrize("write", [strict, bson_json.canonical, bson.encode])
def test_json_and_bson_make_no_difference_to_a_webhook(write: Any) -> None:
    direct = change(fullDocument={"_id": OID, **SAFE})
    [event] = decode(record(write(direct.change), b'{"_id": {"_data": "826B03DE"}}'))
    assert event.id == direct.id
    assert sent(event, json="canonical")[0] == sent(direct, json="canonical")[0]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: b'{"schema":{"type":"string","optional":false},"payload":%b}' % json.dumps(text).encode(),
        lambda text: json.dumps(text).encode(),
        lambda text: b"\0\0\0\0\x07" + text.encode(),
    ],
)
def test_converters_may_wrap_it(wrap: Any) -> None:
    direct = change(fullDocument={"_id": OID, **SAFE})
    [event] = decode(record(wrap(java_json.strict(direct.change))))
    assert event.id == direct.id
    assert sent(event, json="canonical")[0] == sent(direct, json="canonical")[0]


def test_simplified_json_has_lost_the_types_but_not_the_times() -> None:
    [event] = decode(record(SIMPLIFIED))
    assert event.id == change().id
    assert event.change["clusterTime"] == Timestamp(1795415552, 3)
    assert event.change["wallTime"] == datetime(2026, 11, 23, 6, 32, 32, 987000)
    assert event.key == {"_id": "65f0a1b2c3d4e5f601020304"}
    assert event.change["fullDocument"]["at"] == "2026-01-31T12:00:00Z"


def test_copied_documents_are_existing_documents() -> None:
    """They say insert, with the document's _id instead of a resume token."""
    copied = {
        "_id": {"_id": Int64(7), "copyingData": True},
        "operationType": "insert",
        "documentKey": {"_id": Int64(7)},
        "fullDocument": {"_id": Int64(7)},
        "ns": {"db": "shop", "coll": "orders"},
    }
    one = record(bson.encode(copied))
    [event, again] = decode(one, one._replace(offset=50))
    assert (event.operation, event.key, event.document) == ("read", {"_id": 7}, "exact")
    assert "_id" not in event.change
    assert event.id != again.id


def test_a_heartbeat_is_no_event() -> None:
    assert decode(record(None, b'{"_data": "826B03DE00000000032B022C0100296E5A1004"}')) == []


def test_an_invalidate_is_no_event() -> None:
    assert decode(record(b'{"_id": {"_data": "82AA"}, "operationType": "invalidate"}')) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"_id": {"$oid": "65f0a1b2c3d4e5f601020304"}, "total": 42}', "publish.full.document.only to false"),
        (bson.encode({"_id": OID, "total": 42}), "publish.full.document.only to false"),
        (b"\0\0\0\0\x07\x02\x48abc", "Avro or Protobuf"),
        (b'"AAECAwQ="', "ByteArrayConverter"),
        (b"[1]", "no object"),
        (b"", "neither JSON nor BSON"),
        (b"\x05\0\0\0", "neither JSON nor BSON"),
        (b"\x0c\0\0\0\x10a\0\x05\0\0\0\0", "change event"),
        (b"\x0c\0\0\0\x02a\0\xff\0\0\0\0", "BSON that cannot be decoded"),
        (
            b'{"operationType": "insert", "ns": {"db": "a", "coll": "b"}, "splitEvent": {"fragment": 1, "of": 2}}',
            "splitLargeEvent",
        ),
        (
            b'{"operationType": "insert", "ns": {"db": "a", "coll": "b"}, "documentKey": "{\\"_id\\": 5}"}',
            "output.format.value to json",
        ),
    ],
)
def test_what_is_no_change_event_says_what_to_set(value: bytes, reason: str) -> None:
    unreadable = refused(record(value))
    assert reason.lower() in unreadable.reason.lower()
    assert "42" not in unreadable.reason
