"""Plain JSON is what JavaScript's JSON.stringify gives for the same document; Extended JSON is MongoDB's own."""

from __future__ import annotations

import json
import math
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson import (
    Binary,
    Code,
    CodecOptions,
    DatetimeConversion,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from hypothesis import given
from hypothesis import strategies as st

from mess.formats import bson_json

OID = ObjectId("65a000000000000000000001")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (7, 7),
        (Int64(2**53), 2**53),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        (True, True),
        (None, None),
        (OID, "65a000000000000000000001"),
        (datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000Z"),
        (DatetimeMS(253402300800000), "+010000-01-01T00:00:00.000Z"),
        (DatetimeMS(-62198755200000), "-000001-01-01T00:00:00.000Z"),
        (b"\x00\xff", "AP8="),
        (Binary(b"\x00\xff", 128), "AP8="),
        (uuid.UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (Decimal128("12.50"), "12.50"),
        (Regex("^a", "im"), "/^a/im"),
        (Timestamp(5, 6), {"t": 5, "i": 6}),
        (Code("return 1"), "return 1"),
        (Code("return x", {"x": 1}), {"code": "return x", "scope": {"x": 1}}),
        (DBRef("coll", OID), {"$ref": "coll", "$id": "65a000000000000000000001"}),
        (MinKey(), {"$minKey": 1}),
        (MaxKey(), {"$maxKey": 1}),
        ([1, {"a": [OID]}], [1, {"a": ["65a000000000000000000001"]}]),
    ],
)
def test_every_bson_type(value: Any, expected: Any) -> None:
    assert json.loads(bson_json.plain({"v": value})) == {"v": expected}


def test_what_no_json_can_hold_is_named() -> None:
    with pytest.raises(TypeError, match="set"):
        bson_json.plain({"v": {1, 2}})


def test_keys_that_a_users_function_made_of_numbers_become_text() -> None:
    assert bson_json.plain({1: "a"}) == b'{"1":"a"}'


LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_date_that_bson_holds_can_be_written(milliseconds: int) -> None:
    document = bson.decode(bson.encode({"at": DatetimeMS(milliseconds)}), LENIENT)
    assert json.loads(bson_json.plain(document))["at"].endswith("Z")


# MongoDB's specification, "Extended JSON", the table of conversions: value, canonical, relaxed.
EXTENDED: list[tuple[Any, Any, Any]] = [
    ("text", "text", "text"),
    (True, True, True),
    (None, None, None),
    (7, {"$numberInt": "7"}, 7),
    (Int64(7), {"$numberLong": "7"}, 7),
    (2**53 + 1, {"$numberLong": "9007199254740993"}, 2**53 + 1),
    (1.5, {"$numberDouble": "1.5"}, 1.5),
    (float("nan"), {"$numberDouble": "NaN"}, {"$numberDouble": "NaN"}),
    (float("-inf"), {"$numberDouble": "-Infinity"}, {"$numberDouble": "-Infinity"}),
    (Decimal128("1.50"), {"$numberDecimal": "1.50"}, {"$numberDecimal": "1.50"}),
    (OID, {"$oid": str(OID)}, {"$oid": str(OID)}),
    (
        datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc),
        {"$date": {"$numberLong": "1767323045678"}},
        {"$date": "2026-01-02T03:04:05.678Z"},
    ),
    (datetime(2026, 1, 2, 3, 4, 5), {"$date": {"$numberLong": "1767323045000"}}, {"$date": "2026-01-02T03:04:05Z"}),
    (
        DatetimeMS(253402300800000),
        {"$date": {"$numberLong": "253402300800000"}},
        {"$date": {"$numberLong": "253402300800000"}},
    ),
    (b"\x00\xff", *[{"$binary": {"base64": "AP8=", "subType": "00"}}] * 2),
    (Binary(b"\x00\xff", 128), *[{"$binary": {"base64": "AP8=", "subType": "80"}}] * 2),
    (
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        *[{"$binary": {"base64": "EjRWeBI0VngSNFZ4EjRWeA==", "subType": "04"}}] * 2,
    ),
    (Regex("^a", "im"), *[{"$regularExpression": {"pattern": "^a", "options": "im"}}] * 2),
    (Timestamp(5, 6), *[{"$timestamp": {"t": 5, "i": 6}}] * 2),
    (Code("f()"), *[{"$code": "f()"}] * 2),
    (
        Code("f()", {"x": 1}),
        {"$code": "f()", "$scope": {"x": {"$numberInt": "1"}}},
        {"$code": "f()", "$scope": {"x": 1}},
    ),
    (DBRef("c", OID, "d"), *[{"$ref": "c", "$id": {"$oid": str(OID)}, "$db": "d"}] * 2),
    (MinKey(), *[{"$minKey": 1}] * 2),
    (MaxKey(), *[{"$maxKey": 1}] * 2),
    ([1, {"a": []}], [{"$numberInt": "1"}, {"a": []}], [1, {"a": []}]),
]


@pytest.mark.parametrize(("value", "canonical", "relaxed"), EXTENDED)
def test_every_bson_type_in_extended_json(value: Any, canonical: Any, relaxed: Any) -> None:
    assert json.loads(bson_json.canonical({"v": value})) == {"v": canonical}
    assert json.loads(bson_json.relaxed({"v": value})) == {"v": relaxed}


keys = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]))
texts = st.text(st.characters(exclude_categories=["Cs"]))
bson_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        texts,
        st.floats().map(lambda value: math.nan if math.isnan(value) else value),  # JSON has one NaN only
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1).map(Int64),
        st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
        st.datetimes().map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
        st.binary(),
        st.builds(Binary, st.binary(), st.sampled_from([0, 1, 5, 6, 8, 128, 255])),
        st.uuids().map(Binary.from_uuid),
        st.binary(min_size=12, max_size=12).map(ObjectId),
        st.decimals(allow_nan=False, places=3, min_value=-(10**20), max_value=10**20).map(Decimal128),
        st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        st.builds(Regex, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.just("im")),
        texts.map(Code),
        st.sampled_from([MinKey(), MaxKey()]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, bson_values, max_size=4))
def test_extended_json_is_what_the_driver_gives_and_canonical_loses_nothing(value: dict[str, Any]) -> None:
    document = bson.decode(bson.encode(value), LENIENT)
    for written, options in (
        (bson_json.relaxed(document), json_util.RELAXED_JSON_OPTIONS),
        (bson_json.canonical(document), json_util.CANONICAL_JSON_OPTIONS),
    ):
        assert repr(json.loads(written)) == repr(json.loads(json_util.dumps(document, json_options=options)))
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
    again = json_util.loads(bson_json.canonical(document).decode(), json_options=options)
    assert bson.encode(again) == bson.encode(value)


@given(st.dictionaries(keys, bson_values, max_size=4))
def test_plain_json_can_be_made_of_every_document_and_is_valid(value: dict[str, Any]) -> None:
    document = bson.decode(bson.encode(value), LENIENT)
    assert set(json.loads(bson_json.plain(document))) == set(value)


scalars = st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.binary(), st.integers(-(2**63), 2**63 - 1))
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(trees)
def test_copy_is_equal_and_shares_no_container(value: Any) -> None:
    again = bson_json.copy(value)
    assert repr(again) == repr(value)
    if isinstance(value, (dict, list)):
        assert again is not value


def test_copy_goes_all_the_way_down() -> None:
    value = {"a": [{"b": {"c": 1}}]}
    again = bson_json.copy(value)
    again["a"][0]["b"]["c"] = 2
    assert value == {"a": [{"b": {"c": 1}}]}
