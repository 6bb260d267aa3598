"""What the queue step writes is the same event when it is read from Kafka."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.record import Record
from mess.event import Event, Namespace
from tests.fuzz.strategies import decoded
from tests.unit.capture.kafka.records import decode, published, record, refused, sent
from tests.unit.fakes import make_events, make_read

VALUES: dict[str, Any] = {
    "oid": ObjectId("65f0a1b2c3d4e5f601020304"),
    "int": 5,
    "negative": -(2**31),
    "long": Int64(5),
    "large": 2**63 - 1,
    "double": 5.0,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "decimal": Decimal128("1.50"),
    "date": datetime(2026, 1, 31, 12, 0, 0, 123000),
    "before 1970": datetime(1969, 12, 31, 23, 59, 59, 999000),
    "beyond": DatetimeMS(2**62),
    "timestamp": Timestamp(1795415552, 2),
    "bytes": b"\x01\x02",
    "uuid": Binary(b"0123456789abcdef", 4),
    "own": Binary(b"x", 128),
    "regex": Regex("^a/", "im"),
    "code": Code("f()"),
    "scoped": Code("f()", {"x": Int64(1)}),
    "ref": DBRef("c", ObjectId("65f0a1b2c3d4e5f601020304"), "d"),
    "min": MinKey(),
    "max": MaxKey(),
    "null": None,
    "bool": True,
    "text": 'a\u2028\U0001f600"\\',
    "array": [1, Int64(2), [Timestamp(1, 2), {"a": Decimal128("NaN")}], {}],
    "looks like a type": {"$oid": 5},
    "another": {"$numberLong": "many", "x": Int64(7)},
    "query": {"$regex": "a", "$options": "i"},
    "$date": {"$date": 5},
}


def change(operation: str = "insert", **more: Any) -> Event:
    """An event as MongoDB sends it."""
    key = ObjectId("65f0a1b2c3d4e5f601020304")
    return decoded(
        {
            "_id": {"_data": "826B03DE00000000032B022C0100296E5A1004"},
            "operationType": operation,
            "clusterTime": Timestamp(1795415552, 3),
            "wallTime": datetime(2026, 11, 23, 6, 32, 32, 987000),
            "ns": {"db": "shop", "coll": "orders"},
            "documentKey": {"_id": key, "region": Int64(1)},
            "fullDocument": {"_id": key, **VALUES},
            **more,
        }
    )


EXACT: list[dict[str, Any]] = [
    {"json": "canonical"},
    {"format": "bson"},
    {"format": "cloudevents", "json": "canonical"},
]
"""The options of the queue step that preserve everything."""


@pytest.mark.parametrize("options", EXACT)
@pytest.mark.parametrize("then", ["plain", "relaxed", "canonical"])
def test_canonical_json_and_bson_make_no_difference_to_a_webhook(options: dict[str, Any], then: str) -> None:
    direct = change()
    [event] = decode(published(direct, **options))
    assert sent(event, json=then) == sent(direct, json=then)
    assert (event.id, event.operation, event.namespace) == (direct.id, direct.operation, direct.namespace)


@pytest.mark.parametrize("then", ["plain", "relaxed"])
def test_relaxed_json_makes_none_if_the_webhooks_json_is_as_simple(then: str) -> None:
    direct = change()
    [event] = decode(published(direct, json="relaxed"))
    assert sent(event, json=then) == sent(direct, json=then)


def test_plain_json_makes_none_if_the_webhooks_json_is_plain() -> None:
    direct = change()
    [event] = decode(published(direct, json="plain"))
    assert sent(event) == sent(direct)
    assert event.change["clusterTime"] == direct.change["clusterTime"]
    assert event.change["wallTime"] == direct.change["wallTime"]


@pytest.mark.parametrize("json", ["plain", "relaxed", "canonical"])
@pytest.mark.parametrize("format", ["event", "cloudevents"])
def test_existing_documents_and_replays_stay_what_they_are(json: str, format: str) -> None:  # noqa: A002
    direct = make_read(1)
    direct.backfill, direct.replay = "bf_7lqdmn2a5xke", True
    [event] = decode(published(direct, json=json, format=format))
    assert (event.id, event.operation, event.backfill, event.replay) == (direct.id, "read", "bf_7lqdmn2a5xke", True)
    assert sent(event) == sent(direct)


@pytest.mark.parametrize("looked_up", [True, False, None])
def test_how_an_update_got_its_document_is_kept(looked_up: bool | None) -> None:
    direct = Event(change("update").change, Namespace("shop", "orders"), looked_up=looked_up)
    [event] = decode(published(direct, json="canonical"))
    assert event.document == direct.document


@pytest.mark.parametrize("options", EXACT)
@pytest.mark.parametrize("operation", ["update", "delete", "drop", "dropDatabase", "rename", "create"])
def test_every_operation_is_read_again(options: dict[str, Any], operation: str) -> None:
    more: dict[str, Any] = {"to": {"db": "shop", "coll": "new"}} if operation == "rename" else {}
    direct = change(operation, **more)
    if operation not in ("update", "delete"):
        direct.change.pop("documentKey")
        direct = Event(direct.change, Namespace("shop", "orders"))
    [event] = decode(published(direct, **options))
    assert (event.id, event.operation, event.namespace) == (direct.id, operation, direct.namespace)
    assert sent(event) == sent(direct)


def test_reports_of_gaps_are_events_too() -> None:
    gap = {
        "operationType": "mess.gap",
        "wallTime": datetime(2026, 11, 23, 6, 32, 32, 987000),
        "ns": {"db": "shop", "coll": "orders"},
        "gap": {"id": "gap_1", "since": Timestamp(1795415552, 3), "until": None},
    }
    direct = Event(gap, Namespace("shop", "orders"), id="msg_" + "A" * 52)
    for options in EXACT:
        [event] = decode(published(direct, **options))
        assert (event.id, event.operation, event.change) == (direct.id, "mess.gap", gap)
    [event] = decode(published(direct))
    assert sent(event) == sent(direct)


def test_records_in_bson_are_read_together_and_a_damaged_one_harms_no_other() -> None:
    events = make_events(5)
    records = [published(event, format="bson")._replace(offset=index) for index, event in enumerate(events)]
    damaged = bson.encode({"x": "y"}).replace(b"\x02x", b"\x55x")  # there is no such type
    records[2] = records[2]._replace(value=damaged)
    found, unreadable = decoder("auto").events(records)
    assert [event.id for event in found] == [event.id for event in events if event is not events[2]]
    assert [event.next_offset for event in found] == [1, 2, 4, 5]
    assert [each.position.token for each in unreadable] == [{"topic": "changes", "partition": 3, "offset": 3}]


def test_without_headers_the_id_is_the_resume_tokens() -> None:
    direct = change()
    for json in ("plain", "canonical"):
        [event] = decode(published(direct, json=json)._replace(headers=[]))
        assert event.id == direct.id


@pytest.mark.parametrize("format", ["event", "cloudevents"])
def test_a_body_that_a_step_has_replaced_says_which_steps_to_move(format: str) -> None:  # noqa: A002
    replaced = change()
    replaced.body = {"total": 42}
    unreadable = refused(published(replaced, format=format))
    assert "field-map" in unreadable.reason
    assert unreadable.change["record"] == {"topic": "changes", "partition": 3, "offset": 41}


def test_a_deletion_as_a_tombstone_is_not_lost_in_silence() -> None:
    one = published(change("delete"))
    assert "tombstones" in refused(one._replace(value=None)).reason


@pytest.mark.parametrize(
    ("option", "record", "remedy"),
    [
        ("debezium", published(change()), "Set it to auto or mess"),
        ("mess", record(b'{"op": "c", "source": {}}'), "Set it to auto or debezium"),
        ("mongodb", published(change(), format="cloudevents"), "Set it to auto or mess"),
        ("debezium", published(change())._replace(headers=[]), "Set it to auto or mongodb"),
    ],
)
def test_a_format_that_the_option_excludes_says_so(option: str, record: Record, remedy: str) -> None:
    assert remedy in refused(record, option).reason
