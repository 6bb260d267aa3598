"""MongoDB's BSON corpus: every document of it is written as its specification says, and none stops a stream."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson import DatetimeConversion, json_util
from bson.raw_bson import RawBSONDocument

from mess.capture.decode import Decoder
from mess.event import Event
from mess.formats.envelope import Format
from tests.corpora.bson import cases, change, reply

VALID = cases("valid")
DAMAGED = cases("decodeErrors")
SOUND = bson.encode({"a": 1})
FORMATS: list[dict[str, str]] = [
    {"json": "plain"},
    {"json": "relaxed"},
    {"json": "canonical"},
    {"format": "cloudevents"},
    {"format": "debezium"},
]

# PyMongo has no classes for BSON's deprecated types, and decodes them as their successors.
CONVERTED = {
    "dbpointer: DBpointer",
    "dbpointer: DBpointer with opposite key order",
    "dbpointer: With two-byte UTF-8",
    "multi-type-deprecated: All BSON types",
    "symbol: Empty string",
    "symbol: Single character",
    "symbol: Multi-character",
    "symbol: two-byte UTF-8 (\u00e9)",
    "symbol: three-byte UTF-8 (\u2606)",
    "symbol: Embedded nulls",
    "undefined: Undefined",
}
# Python writes the exponent in lower case. The corpus leaves a double's digits to the language.
EXPONENT = {"double: 1.2345678921232E+18", "double: -1.2345678921232E+18"}
# One damaged text must not cost the whole event: the bytes in question are replaced.
INVALID_UTF8 = {
    "code: invalid UTF-8",
    "dbpointer: String with bad UTF-8",
    "string: invalid UTF-8",
    "symbol: invalid UTF-8",
}


def read(document: bytes) -> Event:
    """The event of a document, as a stream decodes it."""
    [event], unreadable, _ = Decoder().events(reply(change(1, document)))
    assert unreadable == []
    return event


def written(document: bytes, form: str) -> str:
    """The document as a sink gets it. The text shows types, digits and order."""
    body = Format.model_validate({"json": form}).envelope("test").encode(read(document))
    return repr(json.loads(body)["fullDocument"])


def canonical(name: str) -> str:
    """What a case's document is in canonical form: the corpus's text, or the known deviation from it."""
    case = VALID[name]
    official = expected = case["canonical_extjson"]
    if name in CONVERTED:
        expected = case["converted_extjson"]
    elif name in EXPONENT:
        expected = official.replace("E+", "e+")
    assert (expected != official) == (name in CONVERTED | EXPONENT)
    return repr(json.loads(expected))


@pytest.mark.parametrize("name", VALID)
def test_documents_are_written_in_canonical_form(name: str) -> None:
    case = VALID[name]
    for key in ("canonical_bson", "degenerate_bson", "converted_bson"):
        if key in case:
            assert written(bytes.fromhex(case[key]), "canonical") == canonical(name)


@pytest.mark.parametrize("name", [name for name, case in VALID.items() if "relaxed_extjson" in case])
def test_documents_are_written_in_relaxed_form(name: str) -> None:
    case = VALID[name]
    for key in ("canonical_bson", "degenerate_bson"):
        if key in case:
            expected = repr(json.loads(case["relaxed_extjson"]))
            assert written(bytes.fromhex(case[key]), "relaxed") == expected


@pytest.mark.parametrize("name", [name for name, case in VALID.items() if not case.get("lossy")])
def test_from_canonical_json_a_driver_reads_back_what_was_stored(name: str) -> None:
    stored = bytes.fromhex(VALID[name]["canonical_bson"])
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
    body: bytes = Format.model_validate({"json": "canonical"}).envelope("test").encode(read(stored))
    again: dict[str, Any] = json_util.loads(body.decode(), json_options=options)
    expected = bytes.fromhex(VALID[name]["converted_bson"]) if name in CONVERTED else stored
    assert bson.encode({"": again["fullDocument"]}) == bson.encode({"": RawBSONDocument(expected)})


@pytest.mark.parametrize("options", FORMATS, ids=lambda options: "-".join(options.values()))
def test_every_document_can_be_written_in_every_format(options: dict[str, str]) -> None:
    envelope = Format.model_validate(options).envelope("test")
    for case in VALID.values():
        event = read(bytes.fromhex(case["canonical_bson"]))
        assert json.loads(envelope.encode(event))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_document_is_unreadable_and_those_around_it_are_not(name: str) -> None:
    damaged = change(2, bytes.fromhex(DAMAGED[name]["bson"]))
    events, unreadable, _ = Decoder().events(reply(change(1, SOUND), damaged, change(3, SOUND)))
    first, second, third = (bson.decode(change(number, SOUND))["_id"] for number in (1, 2, 3))
    if name in INVALID_UTF8:
        assert [event.change["_id"] for event in events] == [first, second, third]
        assert "\ufffd" in written(bytes.fromhex(DAMAGED[name]["bson"]), "canonical")
    else:
        assert [event.change["_id"] for event in events] == [first, third]
        assert [one.position.token for one in unreadable] == [second]
