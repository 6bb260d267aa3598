"""What sinks send: the shapes that docs/formats.md promises, read by the standards' own libraries."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Binary, Int64, ObjectId, json_util
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.v1.event import CloudEvent

from mess.event import Event, Namespace
from mess.formats.envelope import Format
from mess.ids import hashed_id
from tests.unit.fakes import make_event, make_events, make_read


def parsed(event: Event, **options: Any) -> Any:
    """An event as the CloudEvents SDK reads it."""
    envelope = Format.model_validate({"format": "cloudevents", **options}).envelope("test")
    return from_structured_event(HTTPMessage({"content-type": envelope.content_type}, envelope.encode(event)))


def test_an_event_is_its_body() -> None:
    event = make_event(7)
    envelope = Format().envelope("test")
    assert envelope.content_type == envelope.batch_content_type == "application/json"
    body = json.loads(envelope.encode(event))
    assert body["fullDocument"] == {"_id": "000000000000000000000007", "n": 7}
    assert body["operationType"] == "insert"


def test_a_batch_holds_ids_and_bodies_in_order_under_an_id_of_its_own() -> None:
    events = make_events(3)
    envelope = Format().envelope("test")
    ids = [event.id for event in events]
    identity, body = envelope.join(events, [envelope.encode(event) for event in events])
    assert json.loads(body) == {
        "id": identity,
        "events": [
            {"id": event.id, "body": json.loads(envelope.encode(event)), "document": "exact"} for event in events
        ],
    }
    assert identity == hashed_id("\n".join(ids))
    assert identity != envelope.join(events[:2], [b"1", b"2"])[0]


def test_the_members_of_a_batch_say_what_their_documents_are_and_which_backfill_read_them() -> None:
    """Those after which there is no document say nothing."""
    looked_up, exact = make_event(1, operation="update"), make_event(2, operation="update")
    looked_up.looked_up, exact.looked_up = True, False
    gone = make_event(3, operation="update")
    gone.change["fullDocument"] = None
    events = [looked_up, exact, gone, make_event(4, operation="delete"), make_read(5, backfill="bf_7")]
    members = json.loads(Format().envelope("test").join(events, [b"1"] * 5)[1])["events"]
    assert [(member.get("document"), member.get("backfill")) for member in members] == [
        ("lookup", None),
        ("exact", None),
        ("missing", None),
        (None, None),
        ("exact", "bf_7"),
    ]
    assert set(members[3]) == {"id", "body"}


@pytest.mark.parametrize("style", ["relaxed", "canonical"])
def test_extended_json_keeps_the_types(style: str) -> None:
    event = make_event(1, value=Int64(2**53 + 1), data=Binary(b"\x00", 128))
    envelope = Format.model_validate({"json": style}).envelope("test")
    assert json_util.loads(envelope.encode(event).decode())["data"] == Binary(b"\x00", 128)
    assert json.loads(envelope.encode(event))["documentKey"] == {"_id": {"$oid": "000000000000000000000001"}}


def test_a_cloudevent_says_what_happened_where_when_and_to_which_document() -> None:
    event = make_event(5, namespace=Namespace("shop", "orders"), operation="update")
    found = parsed(event)
    assert found.get_specversion() == "1.0"
    assert found.get_id() == event.id
    assert found.get_type() == "mongodb.update"
    assert found.get_source() == "/mongodb/shop/orders"
    assert found.get_subject() == "000000000000000000000005"
    assert found.get_time() == datetime.fromtimestamp(1_700_000_005, timezone.utc)
    assert found.get_datacontenttype() == "application/json"
    assert found.get_data()["fullDocument"]["n"] == 5


def test_its_time_is_the_wall_clock_where_mongodb_gives_it() -> None:
    event = make_event(wallTime=datetime(2026, 1, 2, 3, 4, 5, 678000))
    assert parsed(event).get_time() == datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc)


def test_source_and_type_are_the_users_choice() -> None:
    options = {"source": "https://shop.example.com/{db}", "type_prefix": "com.example"}
    found = parsed(make_event(), cloudevents=options)
    assert (found.get_source(), found.get_type()) == ("https://shop.example.com/shop", "com.example.mongodb.insert")


def test_names_that_no_uri_holds_are_escaped() -> None:
    found = parsed(make_event(namespace=Namespace("shop", "ordres payés/1")))
    assert found.get_source() == "/mongodb/shop/ordres%20pay%C3%A9s%2F1"


def test_an_event_of_a_whole_database_has_no_subject() -> None:
    found = parsed(make_event(operation="dropDatabase", namespace=Namespace("shop")))
    assert found.get_subject() is None
    assert found.get_source() == "/mongodb/shop"


@pytest.mark.parametrize(
    ("key", "subject"),
    [({"a": ObjectId("0" * 24)}, '{"a":"000000000000000000000000"}'), (Binary(b"\x00\xff"), "AP8="), (7, "7")],
)
def test_a_subject_is_text_whatever_the_key(key: Any, subject: str) -> None:
    assert parsed(make_event(key=key)).get_subject() == subject


@pytest.mark.parametrize("style", ["relaxed", "canonical"])
def test_a_cloudevents_data_may_be_extended_json(style: str) -> None:
    assert parsed(make_event(1), json=style).get_data()["documentKey"] == {"_id": {"$oid": "000000000000000000000001"}}


def test_a_cloudevents_data_is_what_the_steps_before_have_made() -> None:
    event = make_event()
    event.body = {"order": 7}
    assert parsed(event).get_data() == {"order": 7}


def test_a_cloudevent_says_what_its_document_is() -> None:
    event = make_event(operation="update")
    event.looked_up = True
    assert parsed(event).get_extension("messdocument") == "lookup"
    assert "messdocument" not in parsed(make_event(operation="delete")).get_attributes()
    assert "messbackfill" not in parsed(event).get_attributes()


@pytest.mark.parametrize("style", ["plain", "relaxed", "canonical"])
def test_an_existing_document_as_a_cloudevent(style: str) -> None:
    found = parsed(make_read(5, backfill="bf_7"), json=style)
    assert (found.get_id(), found.get_type()) == (make_read(5, backfill="bf_7").id, "mongodb.read")
    assert found.get_subject() == "000000000000000000000005"
    assert found.get_time() == datetime.fromtimestamp(1_700_000_005, timezone.utc)
    assert (found.get_extension("messdocument"), found.get_extension("messbackfill")) == ("exact", "bf_7")
    assert found.get_data()["operationType"] == "read"


def test_a_batch_of_cloudevents_is_an_array_of_them() -> None:
    events = make_events(3)
    envelope = Format.model_validate({"format": "cloudevents"}).envelope("test")
    assert envelope.batch_content_type.startswith("application/cloudevents-batch+json")
    ids = [event.id for event in events]
    identity, body = envelope.join(events, [envelope.encode(event) for event in events])
    read = [
        from_structured_event(HTTPMessage({"content-type": envelope.content_type}, json.dumps(one).encode()))
        for one in json.loads(body)
    ]
    assert all(isinstance(one, CloudEvent) for one in read)
    assert [one.get_id() for one in read] == ids
    assert identity == hashed_id("\n".join(ids))


def test_the_same_options_give_the_same_envelope_so_that_a_body_is_written_once() -> None:
    options = {"format": "cloudevents", "cloudevents": {"type_prefix": "x"}}
    for one in (options, {"format": "debezium"}, {}):
        assert Format.model_validate(one).envelope("test") is Format.model_validate(one).envelope("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "cloudevent"}, "cloudevents"),
        ({"json": "extended"}, "canonical"),
        ({"cloudevents": {"type_prefix": "x"}}, "format: cloudevents"),
        ({"format": "debezium", "cloudevents": {"type_prefix": "x"}}, "format: cloudevents"),
        ({"format": "cloudevents", "debezium": {"name": "x"}}, "format: debezium"),
        ({"format": "debezium", "debezium": {"name": ""}}, r"debezium\.name"),
        ({"format": "debezium", "json": "plain"}, "has no effect with format: debezium; remove this option"),
        ({"format": "cloudevents", "cloudevents": {"source": "/a b"}}, "URI reference"),
        ({"format": "cloudevents", "cloudevents": {"source": ""}}, "URI reference"),
        ({"format": "cloudevents", "cloudevents": {"type_prefix": "a b"}}, "letters"),
    ],
)
def test_bad_options_are_told_with_the_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Format.model_validate(options)
