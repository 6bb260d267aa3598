"""Plain JSON is what JavaScript's JSON.stringify gives for the same document."""

from __future__ import annotations

import json
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
)
from hypothesis import given
from hypothesis import strategies as st

from mess import codec

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
    assert json.loads(codec.plain({"v": value})) == {"v": expected}


def test_what_no_json_can_hold_is_named() -> None:
    with pytest.raises(TypeError, match="set"):
        codec.plain({"v": {1, 2}})


def test_keys_that_a_users_function_made_of_numbers_become_text() -> None:
    assert codec.plain({1: "a"}) == b'{"1":"a"}'


LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_date_that_bson_holds_can_be_written(milliseconds: int) -> None:
    document = bson.decode(bson.encode({"at": DatetimeMS(milliseconds)}), LENIENT)
    assert json.loads(codec.plain(document))["at"].endswith("Z")


scalars = st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.binary(), st.integers(-(2**63), 2**63 - 1))
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(trees)
def test_copy_is_equal_and_shares_no_container(value: Any) -> None:
    again = codec.copy(value)
    assert repr(again) == repr(value)
    if isinstance(value, (dict, list)):
        assert again is not value


def test_copy_goes_all_the_way_down() -> None:
    value = {"a": [{"b": {"c": 1}}]}
    again = codec.copy(value)
    again["a"][0]["b"]["c"] = 2
    assert value == {"a": [{"b": {"c": 1}}]}
