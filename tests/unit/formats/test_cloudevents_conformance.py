"""What `format: cloudevents` writes is a CloudEvent: by the official JSON Schema, the rules for attributes in the
specification, and the cases of its conformance tests."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, ObjectId
from jsonschema import Draft7Validator

from mess.config.operations import EXPANDED, OPERATIONS
from mess.event import Event, Namespace
from mess.formats.envelope import Format
from tests.corpora.cloudevents import SCHEMA, structured
from tests.unit.fakes import make_event, make_events

VALIDATOR = Draft7Validator(SCHEMA, format_checker=Draft7Validator.FORMAT_CHECKER)
# Type System, String: control characters, Unicode's noncharacters and surrogates are disallowed.
DISALLOWED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


def valid(written: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent that keeps all rules."""
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []
    attributes = {name: value for name, value in written.items() if name != "data"}
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in attributes)
    assert all(isinstance(value, str) and not DISALLOWED.search(value) for value in attributes.values())
    assert attributes["specversion"] == "1.0"
    return written


def cloudevent(event: Event, **options: Any) -> dict[str, Any]:
    envelope = Format.model_validate({"format": "cloudevents", **options}).envelope("test")
    return valid(json.loads(envelope.encode(event)))


def test_the_schema_refuses_what_is_no_cloudevent() -> None:
    """Otherwise the other tests would show nothing."""
    sound = cloudevent(make_event())
    for wrong in ({"source": "/a b"}, {"time": "noon"}, {"id": ""}, {"subject": ""}, {"type": 5}):
        assert not VALIDATOR.is_valid({**sound, **wrong})


@pytest.mark.parametrize("json_", ["plain", "relaxed", "canonical"])
@pytest.mark.parametrize("operation", [*OPERATIONS, *EXPANDED, "somethingNew"])
def test_every_operation(operation: str, json_: str) -> None:
    event = make_event(3, operation=operation, wallTime=datetime(2026, 1, 2, 3, 4, 5, 678000))
    written = cloudevent(event, json=json_)
    assert (written["id"], written["type"]) == (event.id, f"mongodb.{operation}")
    assert written["source"] == "/mongodb/shop/orders"
    assert written["time"] == "2026-01-02T03:04:05.678Z"
    assert written["data"]["operationType"] == operation


@pytest.mark.parametrize(
    "namespace",
    [
        Namespace("shop"),
        Namespace("", ""),
        Namespace("shop", "a b"),
        Namespace("shop", "50%"),
        Namespace("shop", "a/b?c#d"),
        Namespace("shop", '[x]{y}|^`\\<>"'),
        Namespace("magasin-é", "☃.\U0001f600\n"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize(
    "source", [None, "urn:mongodb:{db}:{collection}", "{collection}", "//{db}.example.com/#{collection}"]
)
def test_every_namespace(namespace: Namespace, source: str | None) -> None:
    cloudevent(make_event(namespace=namespace), cloudevents={} if source is None else {"source": source})


@pytest.mark.parametrize(
    ("key", "subject"),
    [
        (ObjectId("65f0a1b2c3d4e5f601020304"), "65f0a1b2c3d4e5f601020304"),
        ("payé ☃\U0001f600 50%", "payé ☃\U0001f600 50%"),
        ("a\nb\x00\x7f\x85", "a%0Ab%00%7F%C2%85"),
        ("\ufdd0\uffff\U0010ffff", "%EF%B7%90%EF%BF%BF%F4%8F%BF%BF"),
        ("a\u00a0b\u200d\ue000", "a\u00a0b\u200d\ue000"),
        ({"a": "\n"}, '{"a":"\\n"}'),
        (Binary(b"\x00\xff"), "AP8="),
        (Decimal128("NaN"), "NaN"),
        (True, "true"),
        ("", None),
        (float("nan"), None),
    ],
    ids=ascii,
)
def test_every_document_key(key: Any, subject: str | None) -> None:
    assert cloudevent(make_event(key=key)).get("subject") == subject


@pytest.mark.parametrize(
    ("wall", "time"),
    [
        (datetime(1, 1, 1), "0001-01-01T00:00:00.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999000), "9999-12-31T23:59:59.999Z"),
        (DatetimeMS(2**62), "2023-11-14T22:13:20.000Z"),
        (None, "2023-11-14T22:13:20.000Z"),
    ],
)
def test_every_time(wall: Any, time: str) -> None:
    """One that RFC 3339 cannot write gives way to the cluster time."""
    assert cloudevent(make_event(wallTime=wall))["time"] == time


@pytest.mark.parametrize("source", [*SCHEMA["properties"]["source"]["examples"], "http://[::1]:80/a", "?q#f", "a/b:c"])
def test_every_uri_reference_may_be_the_source(source: str) -> None:
    assert cloudevent(make_event(), cloudevents={"source": source})["source"] == source


@pytest.mark.parametrize(
    "source", ["/a[b]", "a#b#c", "1:2", ":", "{db}:x", "x{db}:y", "/a b", "/%4", "/é", "<>", "/{", "http://[x]/"]
)
def test_what_is_no_uri_reference_is_refused_as_source(source: str) -> None:
    with pytest.raises(ValueError, match="not a URI reference"):
        Format.model_validate({"format": "cloudevents", "cloudevents": {"source": source}})


@pytest.mark.parametrize("binding", ["http", "kafka"])
def test_the_conformance_case_for_structured_mode(binding: str) -> None:
    """The same attributes, and data as a JSON value, under one of the media types."""
    expected, content_types = structured(binding)
    event = make_event(operation="drop")
    event.body = expected["data"]
    written = cloudevent(event)
    assert valid(expected).keys() == written.keys()
    assert all(written[name] == expected[name] for name in ("specversion", "datacontenttype", "data"))
    envelope = Format.model_validate({"format": "cloudevents"}).envelope("test")
    assert envelope.content_type.lower() in content_types


def test_a_batch_is_an_array_of_events_under_its_own_media_type() -> None:
    envelope = Format.model_validate({"format": "cloudevents"}).envelope("test")
    events = make_events(3)
    _, body = envelope.join(events, [envelope.encode(event) for event in events])
    assert [valid(each)["id"] for each in json.loads(body)] == [event.id for event in events]
    assert envelope.batch_content_type.partition(";")[0] == "application/cloudevents-batch+json"
