"""What Debezium's MongoDB connector writes becomes MongoDB's change events. The samples follow its documentation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Regex, Timestamp

from mess.event import Event, Namespace
from mess.formats import java_json
from tests.unit.capture.kafka.records import decode, encoded, published, record, refused
from tests.unit.capture.kafka.test_own import VALUES, change

OID = ObjectId("65f0a1b2c3d4e5f601020304")
KEY = b'{"id":"{\\"$oid\\": \\"65f0a1b2c3d4e5f601020304\\"}"}'
SOURCE: dict[str, Any] = {
    "version": "2.7.3.Final",
    "connector": "mongodb",
    "name": "fulfillment",
    "ts_ms": 1795415552000,
    "snapshot": "false",
    "db": "inventory",
    "sequence": None,
    "ts_us": 1795415552000000,
    "ts_ns": 1795415552000000000,
    "collection": "customers",
    "ord": 31,
    "lsid": None,
    "txnNumber": None,
    "wallTime": 1795415552987,
}


def value(op: str, after: str | None = None, **more: Any) -> bytes:
    """A record's value without a schema."""
    found = {
        "before": None,
        "after": after,
        "updateDescription": None,
        "source": SOURCE,
        "op": op,
        "ts_ms": 1795415553002,
        "transaction": None,
        **more,
    }
    return json.dumps(found).encode()


DOCUMENT = '{"_id": {"$oid": "65f0a1b2c3d4e5f601020304"},"n": {"$numberLong": "5"},"at": {"$date": 1769860800123}}'
AFTER = {"_id": OID, "n": Int64(5), "at": datetime(2026, 1, 31, 12, 0, 0, 123000)}
COMMON: dict[str, Any] = {
    "clusterTime": Timestamp(1795415552, 31),
    "wallTime": datetime(2026, 11, 23, 6, 32, 32, 987000),
    "ns": {"db": "inventory", "coll": "customers"},
    "documentKey": {"_id": OID},
}
UPDATE = {
    "removedFields": ["a", "b.c"],
    "updatedFields": '{"n": 5, "at": {"$date": "2026-01-31T12:00:00.123Z"}}',
    "truncatedArrays": [{"field": "list", "size": 3}],
}
UPDATED: dict[str, Any] = {
    "removedFields": ["a", "b.c"],
    "updatedFields": {"n": 5, "at": datetime(2026, 1, 31, 12, 0, 0, 123000)},
    "truncatedArrays": [{"field": "list", "newSize": 3}],
}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (value("c", DOCUMENT), {"operationType": "insert", "fullDocument": AFTER}),
        (value("r", DOCUMENT), {"operationType": "read", "fullDocument": AFTER}),
        (value("u", DOCUMENT), {"operationType": "replace", "fullDocument": AFTER}),
        (
            value("u", DOCUMENT, updateDescription=UPDATE),
            {"operationType": "update", "fullDocument": AFTER, "updateDescription": UPDATED},
        ),
        (value("u", updateDescription=UPDATE), {"operationType": "update", "updateDescription": UPDATED}),
        (value("d"), {"operationType": "delete"}),
        (value("d", before=DOCUMENT), {"operationType": "delete", "fullDocumentBeforeChange": AFTER}),
    ],
)
@pytest.mark.parametrize("schema", [False, True])
def test_an_event_is_mongodbs_change_event(written: bytes, expected: dict[str, Any], schema: bool) -> None:
    key = KEY
    if schema:
        written = b'{"schema":{"type":"struct","fields":[]},"payload":%b}' % written
        key = b'{"schema":{"type":"struct","fields":[]},"payload":%b}' % key
    [event] = decode(record(written, key))
    assert event.change == {**COMMON, **expected}
    assert event.namespace == Namespace("inventory", "customers")
    assert event.next_offset == 42


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b'{"id":"1004"}', 1004),
        (b'{"id":"\\"a\\\\\\"b\\""}', 'a"b'),
        (b'{"id":"{\\"$date\\": \\"2026-01-31T12:00:00Z\\"}"}', datetime(2026, 1, 31, 12)),
        (b'{"id":"{\\"a\\": 1, \\"b\\": {\\"$numberDecimal\\": \\"1.50\\"}}"}', {"a": 1, "b": Decimal128("1.50")}),
        (b'{"id":"null"}', None),
    ],
)
def test_a_deletions_id_is_in_the_key(key: bytes, expected: Any) -> None:
    [event] = decode(record(value("d"), key))
    assert event.key == {"_id": expected}


@pytest.mark.parametrize("key", [None, b"", b"Struct{id=1}", b"[]", b'{"id":"{"}', b'"1"'])
def test_a_deletion_whose_key_cannot_be_read_says_what_to_set(key: bytes | None) -> None:
    unreadable = refused(record(value("d"), key))
    assert "key.converter to org.apache.kafka.connect.json.JsonConverter" in unreadable.reason


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"wallTime": None}, {"clusterTime": Timestamp(1795415552, 31)}),
        ({"ord": -1}, {"wallTime": COMMON["wallTime"]}),
        ({"wallTime": 2**62, "ts_ms": 2**70}, {"wallTime": DatetimeMS(2**62)}),
        ({"wallTime": 2**70, "ts_ms": "soon"}, {}),
    ],
)
def test_times_are_as_far_as_known(source: dict[str, Any], expected: dict[str, Any]) -> None:
    [event] = decode(record(value("c", DOCUMENT, source={**SOURCE, **source})))
    assert {name: event.change[name] for name in ("clusterTime", "wallTime") if name in event.change} == expected


@pytest.mark.parametrize("form", [java_json.strict, java_json.relaxed])
def test_documents_keep_their_types_in_either_form(form: Any) -> None:
    [event] = decode(record(value("c", form({"_id": OID, **VALUES}))))
    found, lossless = event.change["fullDocument"], form is java_json.strict
    assert found.pop("query") == Regex("a", "i")  # the older form cannot tell it from a regular expression
    assert found.pop("$date") == datetime(1970, 1, 1, 0, 0, 0, 5000)
    for name in ("oid", "decimal", "date", "before 1970", "beyond", "timestamp", "bytes", "uuid", "own", "regex"):
        assert (name, found[name]) == (name, VALUES[name])
    assert str(found["nan"]) == "nan"
    assert found["infinity"] == float("-inf")
    assert found["uuid"] == Binary(b"0123456789abcdef", 4)
    assert isinstance(found["long"], Int64) is lossless


@pytest.mark.parametrize(
    "body",
    [
        {"ts_ms": 1795415553002},
        {"schema": {"type": "struct"}, "payload": {"ts_ms": 1795415553002}},
        {"status": "BEGIN", "id": "[1,2]", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"id": "x", "aggregate_type": "Initial Snapshot", "type": "STARTED", "additional_data": {}, "timestamp": 1},
        {"schema": None, "payload": None},
    ],
)
def test_heartbeats_transactions_and_notifications_are_no_events(body: dict[str, Any]) -> None:
    assert decode(record(json.dumps(body).encode())) == []


def test_tombstones_are_no_events() -> None:
    assert decode(record(None, KEY)) == []


def test_ids_differ_by_record_and_are_the_same_when_it_is_read_again() -> None:
    """The content says little: two updates may well look the same."""
    one = record(value("c", DOCUMENT))
    places: list[dict[str, Any]] = [{}, {"offset": 42}, {"partition": 4}, {"topic": "x"}, {"timestamp": 5}]
    ids = [event.id for event in decode(*(one._replace(**place) for place in places))]
    assert len(set(ids)) == len(places)
    assert ids == [event.id for place in places for event in decode(one._replace(**place))]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (value("t"), "its op is none"),
        (value("c", DOCUMENT, source={**SOURCE, "connector": "postgresql"}), "connector for 'postgresql'"),
        (b'{"_id": "{}", "name": "Anne", "__deleted": false, "__op": "c"}', "ExtractNewDocumentState"),
        (value("c", "[]"), "no document"),
        (b'{"specversion": "1.0", "iodebeziumop": "c", "data": {}}', "CloudEventsConverter"),
    ],
)
def test_what_is_no_event_of_its_mongodb_connector_says_why(body: bytes, reason: str) -> None:
    assert reason in refused(record(body)).reason


def test_our_own_debezium_format_keeps_the_events_id_and_markers() -> None:
    direct = Event(change().change, Namespace("shop", "orders"), looked_up=False)
    direct.replay = True
    [event] = decode(published(direct, format="debezium"), format="mess")
    assert (event.id, event.operation, event.namespace) == (direct.id, "insert", direct.namespace)
    assert (event.replay, event.document) == (True, "exact")
    assert event.change["wallTime"] == direct.change["wallTime"]
    again = json.loads(encoded(event, format="debezium"))
    assert again["op"] == "c"
