"""From replies to events: what cannot be read is told of, and costs nothing else of its reply."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64, Timestamp
from bson.raw_bson import RawBSONDocument

from mess.capture.decode import RAW, Decoder
from mess.capture.tokens import position_after, position_of
from mess.errors import SourceError
from mess.event import Namespace, event_id
from tests.unit.fakes import make_event

TOKEN = {"_data": "826553F10000000001AA"}


def cursor(*changes: dict[str, Any]) -> RawBSONDocument:
    """A reply's cursor, as the driver gives it."""
    return RawBSONDocument(bson.encode({"id": Int64(1), "nextBatch": list(changes)}), RAW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operationType", None),
        ("operationType", 5),
        ("ns", "shop.orders"),
        ("ns", None),
        ("ns", {}),
        ("ns", {"db": 5, "coll": "orders"}),
        ("documentKey", "x"),
        ("splitEvent", {"fragment": 1}),
        ("splitEvent", {"fragment": 2, "of": 2}),
    ],
)
def test_a_change_event_that_mongodb_would_not_make_is_unreadable_and_those_around_it_are_not(
    field: str, value: Any
) -> None:
    odd = {**make_event(2).change, "_id": TOKEN, field: value, "wallTime": DatetimeMS(2**62)}
    events, unreadable, _ = Decoder().events(cursor(make_event(1).change, odd, make_event(3).change))
    assert [event.id for event in events] == [make_event(1).id, make_event(3).id]
    assert [one.position.token for one in unreadable] == [TOKEN]


def test_a_rename_to_what_is_no_name_is_unreadable() -> None:
    odd = {"_id": TOKEN, "operationType": "rename", "ns": {"db": "a", "coll": "b"}, "to": {"db": 1}}
    events, unreadable, _ = Decoder().events(cursor(odd))
    assert (len(events), len(unreadable)) == (0, 1)


@pytest.mark.parametrize("token", [{}, {"_id": None}, {"_id": "text"}])
def test_a_change_event_without_a_resume_token_ends_the_stream_with_the_reason(token: dict[str, Any]) -> None:
    odd = {key: value for key, value in make_event().change.items() if key != "_id"}
    with pytest.raises(SourceError, match="resume token"):
        Decoder().events(cursor({**token, **odd}))


@pytest.mark.parametrize(("database", "expected"), [("shop", Namespace("shop")), ("", Namespace(""))])
def test_an_event_of_a_kind_that_is_not_known_needs_no_namespace(database: str, expected: Namespace) -> None:
    """It belongs to the stream's database as a whole."""
    odd = {"_id": TOKEN, "operationType": "somethingNew", "clusterTime": Timestamp(5, 1), "anything": {"a": 1}}
    [event], unreadable, _ = Decoder(database).events(cursor(odd))
    assert (event.namespace, event.operation, event.key, unreadable) == (expected, "somethingNew", None, [])
    assert event.body["anything"] == {"a": 1}


def test_fragments_of_an_event_are_put_together() -> None:
    change = make_event().change
    first = {"_id": TOKEN, "operationType": "insert", "splitEvent": {"fragment": 1, "of": 2}}
    rest = {**change, "_id": {"_data": "last"}, "splitEvent": {"fragment": 2, "of": 2}}
    decoder = Decoder()
    assert decoder.events(cursor(first))[0] == []
    [event], unreadable, _ = decoder.events(cursor(rest))
    assert (event.id, position_after(event).token, unreadable) == (event_id(TOKEN), {"_data": "last"}, [])
    assert event.change == {**change, "_id": {"_data": "last"}}


def test_a_cluster_time_that_is_none_is_not_taken_for_one() -> None:
    assert position_of({"_data": "opaque"}, "noon").time is None  # type: ignore[arg-type]
    assert position_of({"_data": "opaque"}, Timestamp(5, 1)).time == Timestamp(5, 1)


@pytest.mark.parametrize(("looked_up", "document"), [(True, "lookup"), (False, "exact")])
def test_updates_say_how_their_stream_gets_documents(looked_up: bool, document: str) -> None:
    """Whole ones, those decoded one by one, and those that MongoDB has split."""
    update = make_event(1, operation="update").change
    odd = {**make_event(2).change, "ns": 5}
    decoder = Decoder(looked_up=looked_up)
    assert [event.document for event in decoder.events(cursor(update))[0]] == [document]
    assert [event.document for event in decoder.events(cursor(update, odd))[0]] == [document]
    parts = [
        {"_id": TOKEN, "splitEvent": {"fragment": 1, "of": 2}, "operationType": "update", "ns": update["ns"]},
        {"_id": TOKEN, "splitEvent": {"fragment": 2, "of": 2}, "fullDocument": {"_id": 1}, "documentKey": {"_id": 1}},
    ]
    assert [event.document for event in decoder.events(cursor(*parts))[0]] == [document]
