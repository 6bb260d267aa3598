"""Documents and change events with everything that BSON can hold, rightly and wrongly, as bytes and as events."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import bson
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from hypothesis import strategies as st

from mess.capture.decode import RAW, Decoder
from mess.event import Event

LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
"""How events are decoded."""

_CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
_INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)])

keys = st.one_of(
    st.text(_CHARACTERS, max_size=6),
    st.sampled_from(["", ".", "a.b", "$x", "$oid", "$date", "$ref", "$id", "$db", "$binary", "_id", "0", "id", "data"]),
    st.sampled_from(
        ['"', "\\", "\n", "\x1f", "\u2028", "\x7f", "\ufeff", "\U0001f600", "é", "%s", "{db}", "__proto__"]
    ),
)
"""A document's keys: whatever holds no NUL."""

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(
        ["", "\0", "a\0b", "\r\n", '"', "\\u0000", "\u2028", "\U0001f600", "x" * 5000, "{{", "%", "*", ">", "#"]
    ),
)

_binaries = st.one_of(
    st.builds(Binary, st.binary(max_size=20), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 127, 128, 255])),
    st.uuids().map(Binary.from_uuid),
    st.just(Binary(b"\xff" * 100_000)),
)
_decimals = st.one_of(
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-0", "0E-6176", "9.9E+6144", "1.50"]),
    st.builds("{}E{}".format, st.integers(-(10**34) + 1, 10**34 - 1), st.integers(-6176, 6111)),
).map(Decimal128)
_dates = st.one_of(
    _INT64.map(DatetimeMS),
    st.datetimes().map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
)
_regexes = st.builds(
    Regex, st.text(_CHARACTERS, max_size=6), st.sampled_from(["", "i", "imlsux", "xi"]) | st.integers(0, 511)
)
_numbers = st.integers(0, 2**32 - 1)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    texts,
    st.floats(),
    _INT64,
    _INT64.map(Int64),
    _dates,
    _binaries,
    st.binary(min_size=12, max_size=12).map(ObjectId),
    _decimals,
    st.builds(Timestamp, _numbers, _numbers),
    _regexes,
    texts.map(Code),
    st.sampled_from([MinKey(), MaxKey()]),
)


def _inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Code, texts, st.dictionaries(keys, inner, max_size=2)),
        st.builds(DBRef, texts, inner, st.none() | texts),
    )


values = st.recursive(scalars, _inside, max_leaves=12)


@st.composite
def _deep(draw: st.DrawFn) -> Any:
    """As deep as MongoDB lets a document be, or nearly."""
    value = draw(scalars)
    for _ in range(draw(st.sampled_from([10, 60, 90]))):
        value = [value] if draw(st.booleans()) else {"a": value}
    return value


documents = st.dictionaries(keys.filter(lambda key: key != "_id"), values | _deep(), max_size=4)
"""Documents without `_id`."""

# `_id` may be neither an array, nor a regular expression; MongoDB takes the rest.
ids = st.one_of(
    scalars.filter(lambda value: not isinstance(value, Regex)),
    st.dictionaries(keys.filter(lambda key: not key.startswith("$")), scalars, max_size=3),
)

_CSTRINGS = st.binary(max_size=6).map(lambda raw: raw.replace(b"\0", b""))
_STRINGS = st.binary(max_size=6)


def _string(raw: bytes) -> bytes:
    return struct.pack("<i", len(raw) + 1) + raw + b"\0"


_RAW_VALUES: dict[int, Callable[[st.DrawFn], bytes]] = {
    0x02: lambda draw: _string(draw(_STRINGS)),  # a text that need not be UTF-8
    0x05: lambda draw: _old_binary(draw(_STRINGS)),
    0x06: lambda draw: b"",  # undefined
    0x08: lambda draw: bytes([draw(st.integers(0, 1))]),
    0x0B: lambda draw: draw(_CSTRINGS) + b"\0" + draw(_CSTRINGS) + b"\0",  # flags that nobody knows
    0x0C: lambda draw: _string(draw(_STRINGS)) + draw(st.binary(min_size=12, max_size=12)),  # DBPointer
    0x0D: lambda draw: _string(draw(_STRINGS)),
    0x0E: lambda draw: _string(draw(_STRINGS)),  # symbol
    0x13: lambda draw: draw(st.binary(min_size=16, max_size=16)),
}


def _old_binary(data: bytes) -> bytes:
    """Subtype 2, which has a second length inside."""
    return struct.pack("<i", len(data) + 4) + b"\x02" + struct.pack("<i", len(data)) + data


@st.composite
def raw_documents(draw: st.DrawFn) -> RawBSONDocument:
    """Documents of bytes that no encoder of ours would write: texts and keys that are no UTF-8, deprecated types, keys
    written twice."""
    elements = b""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(_RAW_VALUES)))
        key = draw(_CSTRINGS | keys.map(str.encode))
        elements += bytes([kind]) + key + b"\0" + _RAW_VALUES[kind](draw)
    return RawBSONDocument(struct.pack("<i", len(elements) + 5) + elements + b"\0")


_OPERATIONS = ("insert", "update", "replace", "delete")
_NAMES = st.sampled_from(["shop", "o\u0308", "a b", "x" * 60, "%", "a.b", "#", "*"])


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Change events as MongoDB sends them; what is raw stays so until they are encoded."""
    number = draw(st.integers(0, 2**20))
    operation = draw(st.sampled_from([*_OPERATIONS, "drop", "rename", "dropDatabase"]))
    change: dict[str, Any] = {
        "_id": {"_data": f"82{1_700_000_000 + number:08X}{1:08X}AA"},
        "operationType": operation,
        "clusterTime": Timestamp(1_700_000_000 + number, 1),
        "ns": {"db": draw(_NAMES)},
    }
    if draw(st.booleans()):
        change["wallTime"] = draw(_dates)
    if operation != "dropDatabase":
        change["ns"]["coll"] = draw(_NAMES)
    if operation == "rename":
        change["to"] = {"db": draw(_NAMES), "coll": draw(_NAMES)}
    if operation in _OPERATIONS:
        change["documentKey"] = {"_id": draw(ids), **draw(st.just({}) | st.just({"region": 1}))}
        if operation != "delete":
            document = draw(documents | raw_documents() | st.none())
            change["fullDocument"] = document
        if operation == "update":
            change["updateDescription"] = {
                "updatedFields": draw(documents),
                "removedFields": draw(st.lists(keys, max_size=2)),
            }
    return change


def reply(*changes: dict[str, Any]) -> RawBSONDocument:
    """The cursor of a reply of MongoDB's with these change events."""
    return RawBSONDocument(bson.encode({"id": Int64(1), "nextBatch": list(changes)}), RAW)


def decoded(change: dict[str, Any]) -> Event:
    """A change event as the relay gets it from MongoDB."""
    [event], unreadable, _ = Decoder().events(reply(change))
    assert not unreadable
    return event


events = changes().map(decoded)
"""Events with the change events that MongoDB may send."""
