"""`format: debezium`, against what Debezium 3.6.1 itself has written for the same changes of a MongoDB 6.0."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code

from mess.event import Event, Namespace
from mess.formats import debezium
from mess.formats.envelope import Format
from mess.formats.java_json import relaxed, relaxed_spaced, strict
from tests.unit.fakes import make_event, make_read

# Values


@pytest.mark.parametrize(
    ("value", "in_document", "in_updated_fields"),
    [
        (7, "7", "7"),
        (-2147483648, "-2147483648", "-2147483648"),
        (Int64(5), '{"$numberLong": "5"}', "5"),
        (Int64(-(2**63)), '{"$numberLong": "-9223372036854775808"}', "-9223372036854775808"),
        (1.5, "1.5", "1.5"),
        (True, "true", "true"),
        (None, "null", "null"),
        (
            'naïve "q" ☃ \\ \U0001f600\x7f\u2028',
            '"naïve \\"q\\" ☃ \\\\ \\ud83d\\ude00\\u007f\\u2028"',
            '"naïve \\"q\\" ☃ \\\\ \\ud83d\\ude00\\u007f\\u2028"',
        ),
        ("", '""', '""'),
        (
            [1, Int64(2), [], {}, [{"x": []}]],
            '[1,{"$numberLong": "2"},[],{},[{"x": []}]]',
            '[1, 2, [], {}, [{"x": []}]]',
        ),
        ({"y": {}, "z": [None]}, '{"y": {},"z": [null]}', '{"y": {}, "z": [null]}'),
        (
            {"\x7f\u2028é": "k", "$x": {"$y": 1}, "": 4},
            '{"\\u007f\\u2028é": "k","$x": {"$y": 1},"": 4}',
            '{"\\u007f\\u2028é": "k", "$x": {"$y": 1}, "": 4}',
        ),
        (
            ObjectId("65f0a1b2c3d4e5f601020304"),
            '{"$oid": "65f0a1b2c3d4e5f601020304"}',
            '{"$oid": "65f0a1b2c3d4e5f601020304"}',
        ),
        (datetime(2026, 1, 31, 12, 0, 0, 123000), '{"$date": 1769860800123}', '{"$date": "2026-01-31T12:00:00.123Z"}'),
        (datetime(2026, 1, 31, 12, 0, 1, 100000), '{"$date": 1769860801100}', '{"$date": "2026-01-31T12:00:01.1Z"}'),
        (datetime(2026, 1, 31, 12), '{"$date": 1769860800000}', '{"$date": "2026-01-31T12:00:00Z"}'),
        (datetime(1970, 1, 1), '{"$date": 0}', '{"$date": "1970-01-01T00:00:00Z"}'),
        (datetime(1969, 12, 31, 23, 59, 59, 999000), '{"$date": -1}', '{"$date": {"$numberLong": "-1"}}'),
        (
            datetime(9999, 12, 31, 23, 59, 59, 999000),
            '{"$date": 253402300799999}',
            '{"$date": "9999-12-31T23:59:59.999Z"}',
        ),
        (DatetimeMS(253402300800000), '{"$date": 253402300800000}', '{"$date": {"$numberLong": "253402300800000"}}'),
        (DatetimeMS(-(2**62)), '{"$date": -4611686018427387904}', '{"$date": {"$numberLong": "-4611686018427387904"}}'),
        (Decimal128("1.50"), '{"$numberDecimal": "1.50"}', '{"$numberDecimal": "1.50"}'),
        (Decimal128("1E+3"), '{"$numberDecimal": "1E+3"}', '{"$numberDecimal": "1E+3"}'),
        (Decimal128("-Infinity"), '{"$numberDecimal": "-Infinity"}', '{"$numberDecimal": "-Infinity"}'),
        (b"\x01\x02", '{"$binary": "AQI=","$type": "00"}', '{"$binary": {"base64": "AQI=", "subType": "00"}}'),
        (
            Binary(b"\x00\xff", 128),
            '{"$binary": "AP8=","$type": "80"}',
            '{"$binary": {"base64": "AP8=", "subType": "80"}}',
        ),
        (
            Binary(bytes(range(16)), 4),
            '{"$binary": "AAECAwQFBgcICQoLDA0ODw==","$type": "04"}',
            '{"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}',
        ),
        (
            Regex('^a"/☃', "imxsu"),
            '{"$regex": "^a\\"/☃","$options": "imsux"}',
            '{"$regularExpression": {"pattern": "^a\\"/☃", "options": "imsux"}}',
        ),
        (Regex("x"), '{"$regex": "x","$options": ""}', '{"$regularExpression": {"pattern": "x", "options": ""}}'),
        (Code('f("x")'), '{"$code": "f(\\"x\\")"}', '{"$code": "f(\\"x\\")"}'),
        (
            Code("g()", {"x": Int64(1), "d": datetime(2026, 1, 1)}),
            '{"$code": "g()","$scope": {"x": {"$numberLong": "1"},"d": {"$date": 1767225600000}}}',
            '{"$code": "g()", "$scope": {"x": 1, "d": {"$date": "2026-01-01T00:00:00Z"}}}',
        ),
        (
            Timestamp(4294967295, 2),
            '{"$timestamp": {"t": 4294967295,"i": 2}}',
            '{"$timestamp": {"t": 4294967295, "i": 2}}',
        ),
        (MinKey(), '{"$minKey": 1}', '{"$minKey": 1}'),
        (MaxKey(), '{"$maxKey": 1}', '{"$maxKey": 1}'),
        (
            DBRef("c", Int64(1), "d", extra=1),
            '{"$ref": "c","$id": {"$numberLong": "1"},"$db": "d","extra": 1}',
            '{"$ref": "c", "$id": 1, "$db": "d", "extra": 1}',
        ),
        (math.nan, "NaN", '{"$numberDouble": "NaN"}'),
        (math.inf, "Infinity", '{"$numberDouble": "Infinity"}'),
        (-math.inf, "-Infinity", '{"$numberDouble": "-Infinity"}'),
        (1e22, "1.0E22", "1.0E22"),
        (1e-7, "1.0E-7", "1.0E-7"),
        (-0.0, "-0.0", "-0.0"),
        (1e7, "1.0E7", "1.0E7"),
        (9999999.5, "9999999.5", "9999999.5"),
        (0.001, "0.001", "0.001"),
        (9.999e-4, "9.999E-4", "9.999E-4"),
        (-1.25e-5, "-1.25E-5", "-1.25E-5"),
        (12345678.0, "1.2345678E7", "1.2345678E7"),
    ],
)
def test_every_type_is_written_as_debezium_does(value: Any, in_document: str, in_updated_fields: str) -> None:
    assert strict(value) == in_document
    assert relaxed_spaced(value) == in_updated_fields


def test_characters_are_escaped_as_debezium_does() -> None:
    """By their categories: marks, modifiers, controls, surrogates and those that nobody has given a meaning."""
    escaped = "\x0b\x1f\x7f\x9f\xad\u02b0\u0300\u037a\u05b0\u0600\u0903\u200b\u2029\u20dd\ue000\ufeff\u0378\uffff"
    assert strict(escaped) == '"' + "".join([f"\\u{ord(one):04x}" for one in escaped]) + '"'
    plain = " !~\xa0\xb2\u024f\u0370\u05d0\u0660\u202f\u20ac\u2160\u2460\u4e2d\ufffd"
    assert strict(plain) == f'"{plain}"'
    assert strict('\b\t\n\f\r"\\/\U0001f600') == r'"\b\t\n\f\r\"\\/\ud83d\ude00"'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (uuid.UUID("12345678-1234-5678-1234-567812345678"), '{"$binary": "EjRWeBI0VngSNFZ4EjRWeA==","$type": "04"}'),
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), '{"$date": 1769860800000}'),
        (2**31, '{"$numberLong": "2147483648"}'),
        ((1, 2), "[1,2]"),
    ],
)
def test_what_a_function_leaves_in_a_document_is_written_as_mongodb_would_store_it(value: Any, written: str) -> None:
    assert strict(value) == written


def test_what_no_bson_holds_is_an_error() -> None:
    with pytest.raises(TypeError, match="type set"):
        strict({"a": [{1}]})


# Keys


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (ObjectId("65f0a1b2c3d4e5f601020304"), r'{"id":"{\"$oid\": \"65f0a1b2c3d4e5f601020304\"}"}'),
        (7, '{"id":"7"}'),
        (Int64(2**62), '{"id":"4611686018427387904"}'),
        (3.0, '{"id":"3.0"}'),
        (1e22, '{"id":"1.0E22"}'),
        (-math.inf, r'{"id":"{\"$numberDouble\": \"-Infinity\"}"}'),
        ('text "quoted" ☃', r'{"id":"\"text \\\"quoted\\\" ☃\""}'),
        ("line\r\n\x00", r'{"id":"\"line\\r\\n\\u0000\""}'),
        (False, '{"id":"false"}'),
        (b"\1", r'{"id":"{\"$binary\": {\"base64\": \"AQ==\",\"subType\": \"00\"}}"}'),
        (datetime(2026, 1, 31, 12, 0, 1, 120000), r'{"id":"{\"$date\": \"2026-01-31T12:00:01.12Z\"}"}'),
        (datetime(1960, 1, 31, 12), r'{"id":"{\"$date\": {\"$numberLong\": \"-312984000000\"}}"}'),
        (Decimal128("NaN"), r'{"id":"{\"$numberDecimal\": \"NaN\"}"}'),
        (Timestamp(1, 2), r'{"id":"{\"$timestamp\": {\"t\": 1,\"i\": 2}}"}'),
        (MaxKey(), r'{"id":"{\"$maxKey\": 1}"}'),
        ({"a": {"b": [1, 2], "c": {}}, "d": []}, r'{"id":"{\"a\": {\"b\": [1,2],\"c\": {}},\"d\": []}"}'),
    ],
)
def test_a_records_key_is_debeziums(key: Any, expected: str) -> None:
    assert debezium.key(make_event(key=key)) == expected
    assert json.loads(expected)["id"] == relaxed(key)


def test_the_id_null_is_a_key_too() -> None:
    event = make_event()
    event.key = {"_id": None}
    assert debezium.key(event) == '{"id":"null"}'


def test_an_event_of_no_document_has_no_key() -> None:
    assert debezium.key(make_event(operation="drop")) is None


# Events

UID = Binary(bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), 0)
LSID = {"id": Binary(bytes.fromhex("95f3e36593cd41699103af7090efab6a"), 4), "uid": bytes(UID)}
BEFORE = {"_id": 1, "n": Int64(1), "arr": [0, 1, 2], "gone": 1, "sub": {"x": 1, "l": [1, 2]}}
AFTER = {"_id": 1, "n": Int64(2), "arr": [0, 1], "sub": {"x": 2.5, "l": [1]}}


def change(operation: str, **more: Any) -> Event:
    """A change as MongoDB tells of it."""
    body = {
        "_id": {"_data": "826B03DE2100000004"},
        "operationType": operation,
        "clusterTime": Timestamp(1795458545, 4),
        "wallTime": datetime(2026, 11, 23, 18, 29, 5, 12000),
        "ns": {"db": "shop", "coll": "orders"},
        "documentKey": {"_id": 1},
        **more,
    }
    return Event(body, Namespace("shop", "orders"))


def written(event: Event, name: str = "shop-relay") -> str:
    """An event in this format, without the time at which it was written."""
    text = debezium.encoder(name)(event).decode()
    return re.sub(r'("op":"."),"ts_ms":\d+', r"\1", text)


def expected(op: str, before: str, after: str, update: str, lsid: str = "null", transaction: str = "null") -> str:
    return (
        f'{{"before":{before},"after":{after},"updateDescription":{update},"source":{{"version":"3.6.1.Final",'
        '"connector":"mongodb","name":"shop-relay","ts_ms":1795458545012,"snapshot":"false","db":"shop","sequence":null,'
        '"ts_us":1795458545012000,"ts_ns":1795458545012000000,"collection":"orders","ord":4,'
        f'"lsid":{lsid},"txnNumber":{transaction},"wallTime":1795458545012}},"op":"{op}","transaction":null}}'
    )


def test_an_insert() -> None:
    assert written(change("insert", fullDocument={"_id": 1, "n": Int64(1)})) == expected(
        "c", "null", r'"{\"_id\": 1,\"n\": {\"$numberLong\": \"1\"}}"', "null"
    )


def test_an_update_says_what_was_set_removed_and_cut_short() -> None:
    description = {
        "updatedFields": {"n": Int64(2), "when": datetime(2026, 1, 31, 12, 0, 1, 120000), "sub.x": 2.5},
        "removedFields": ["gone"],
        "truncatedArrays": [{"field": "arr", "newSize": 2}, {"field": "sub.l", "newSize": 1}],
        "disambiguatedPaths": {},
    }
    event = change("update", fullDocument=AFTER, fullDocumentBeforeChange=BEFORE, updateDescription=description)
    assert written(event) == expected(
        "u",
        r'"{\"_id\": 1,\"n\": {\"$numberLong\": \"1\"},\"arr\": [0,1,2],\"gone\": 1,\"sub\": {\"x\": 1,\"l\": [1,2]}}"',
        r'"{\"_id\": 1,\"n\": {\"$numberLong\": \"2\"},\"arr\": [0,1],\"sub\": {\"x\": 2.5,\"l\": [1]}}"',
        '{"removedFields":["gone"],"updatedFields":'
        r'"{\"n\": 2, \"when\": {\"$date\": \"2026-01-31T12:00:01.12Z\"}, \"sub.x\": 2.5}",'
        '"truncatedArrays":[{"field":"arr","size":2},{"field":"sub.l","size":1}]}',
    )


@pytest.mark.parametrize("more", [{}, {"fullDocument": None}])
def test_an_update_whose_document_is_not_there_has_nothing_after_it(more: dict[str, Any]) -> None:
    """Since nobody looked it up, or since it has been deleted meanwhile."""
    description = {"updatedFields": {}, "removedFields": ["f"], "truncatedArrays": []}
    assert written(change("update", updateDescription=description, **more)) == expected(
        "u", "null", "null", '{"removedFields":["f"],"updatedFields":"{}","truncatedArrays":null}'
    )


def test_a_replacement_is_an_update() -> None:
    event = change("replace", fullDocument={"_id": 1, "r": 1}, fullDocumentBeforeChange={"_id": 1})
    assert written(event) == expected("u", r'"{\"_id\": 1}"', r'"{\"_id\": 1,\"r\": 1}"', "null")


@pytest.mark.parametrize(
    ("more", "before"), [({}, "null"), ({"fullDocumentBeforeChange": {"_id": 1, "r": 1}}, r'"{\"_id\": 1,\"r\": 1}"')]
)
def test_a_deletion_has_what_was_there_before_if_mongodb_kept_it(more: dict[str, Any], before: str) -> None:
    assert written(change("delete", **more)) == expected("d", before, "null", "null")


def test_a_transactions_changes_name_it() -> None:
    event = change("insert", fullDocument={"_id": 1}, lsid=LSID, txnNumber=Int64(44))
    assert written(event) == expected(
        "c",
        "null",
        r'"{\"_id\": 1}"',
        "null",
        r'"{\"id\": {\"$binary\": \"lfPjZZPNQWmRA69wkO+rag==\",\"$type\": \"04\"},'
        r'\"uid\": {\"$binary\": \"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\",\"$type\": \"00\"}}"',
        "44",
    )


def test_an_existing_document_is_one_of_an_incremental_snapshot() -> None:
    """Debezium gives it the position's logical time and no wall time. (From Debezium's source: its snapshots are not
    among what was recorded.)"""
    read = json.loads(written(make_read(5)))
    assert read["source"] == {
        "version": "3.6.1.Final",
        "connector": "mongodb",
        "name": "shop-relay",
        "ts_ms": 1_700_000_005_000,
        "snapshot": "incremental",
        "db": "shop",
        "sequence": None,
        "ts_us": 1_700_000_005_000_000,
        "ts_ns": 1_700_000_005_000_000_000,
        "collection": "orders",
        "ord": 7,
        "lsid": None,
        "txnNumber": None,
        "wallTime": None,
    }
    del read["source"]
    assert read == {
        "before": None,
        "after": '{"_id": {"$oid": "000000000000000000000005"},"n": 5}',
        "updateDescription": None,
        "op": "r",
        "transaction": None,
    }
    assert debezium.carries(make_read())
    assert debezium.key(make_read(5)) == '{"id":"{\\"$oid\\": \\"000000000000000000000005\\"}"}'


def test_without_a_wall_clock_the_logical_time_stands_for_it() -> None:
    """MongoDB before 6.0 tells none."""
    event = change("insert")
    del event.change["wallTime"]
    source = json.loads(written(event))["source"]
    assert (source["ts_ms"], source["ts_us"], source["wallTime"]) == (1795458545000, 1795458545000000, None)


def test_a_clock_that_is_far_off_is_told_as_finely_as_64_bits_allow() -> None:
    source = json.loads(written(change("insert", wallTime=datetime(9999, 12, 31))))["source"]
    assert (source["ts_us"], source["ts_ns"]) == (253402214400000000, None)


def test_the_outer_time_is_when_it_was_written() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= json.loads(debezium.encoder("x")(change("insert")))["ts_ms"] <= time.time_ns() // 1_000_000


def test_a_document_that_a_step_has_changed_is_what_is_written() -> None:
    event = change("insert", fullDocument={"_id": 1, "card": "4111"})
    event.body = {**event.body, "fullDocument": {"_id": 1}}
    assert json.loads(written(event))["after"] == '{"_id": 1}'


def test_a_body_that_is_no_change_any_more_is_an_error() -> None:
    """It would be told as a change that leaves nothing behind."""
    event = change("insert", fullDocument={"_id": 1})
    event.body = {"order": 1}
    with pytest.raises(ValueError, match="an earlier step"):
        debezium.encoder("x")(event)


# The option


def test_the_sources_name_is_the_relays_unless_the_config_says_otherwise() -> None:
    named = Format.model_validate({"format": "debezium", "debezium": {"name": "shop"}})
    for options, name in ((named, "shop"), (Format.model_validate({"format": "debezium"}), "my-relay")):
        assert json.loads(options.envelope("my-relay").encode(change("insert")))["source"]["name"] == name


def test_events_of_whole_collections_and_databases_are_not_carried() -> None:
    carries = Format.model_validate({"format": "debezium"}).envelope("x").carries
    assert carries is not None
    assert [carries(make_event(operation=one)) for one in ("insert", "update", "replace", "delete")] == [True] * 4
    assert not any(carries(make_event(operation=one)) for one in ("drop", "rename", "dropDatabase", "create"))
