"""An event's identity: derived from its resume token alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from bson import Timestamp

from mess.capture.tokens import has_passed, position_of
from mess.event import Position, document_of, event_id
from tests.unit.fakes import make_event, make_read

TOKEN = {"_data": "8265A0000000000001AABB"}


def test_the_id_is_the_base32_of_the_tokens_hash_without_padding() -> None:
    digest = hashlib.sha256(TOKEN["_data"].encode()).digest()
    assert event_id(TOKEN) == "msg_" + base64.b32encode(digest).decode().rstrip("=")
    assert "." not in event_id(TOKEN)


def test_the_id_does_not_depend_on_the_body() -> None:
    event, same = make_event(1), make_event(1)
    same.body = {"other": True}
    assert event.id == same.id


def test_a_position_reads_the_cluster_time_from_the_token() -> None:
    assert position_of({"_data": "82 not hex at all"}).time is None
    assert position_of({"_data": "82" + "65A00000" + "00000007" + "2B02"}).time == Timestamp(0x65A00000, 7)


def test_a_token_of_another_make_keeps_the_events_cluster_time() -> None:
    assert position_of({"_data": "opaque"}, Timestamp(5, 6)).time == Timestamp(5, 6)


def test_a_body_is_encoded_once_until_it_is_replaced() -> None:
    event = make_event()
    calls = []

    def encoder(event):  # type: ignore[no-untyped-def]
        calls.append(event.body)
        return b"x"

    event.encode(encoder)
    event.encode(encoder)
    assert len(calls) == 1
    event.body = {}
    event.encode(encoder)
    assert len(calls) == 2


def test_only_a_later_token_or_a_strictly_later_time_has_passed_a_position() -> None:
    """A token of a place before an event sorts before it, at the same cluster time."""

    def at(second: int, rest: str | None) -> Position:
        return Position(None if rest is None else {"_data": f"82{second:08X}00000001{rest}"}, Timestamp(second, 1))

    assert has_passed(at(5, "2B0229"), at(5, "2B0229"))
    assert has_passed(at(5, "2B022C"), at(5, "2B0229"))
    assert not has_passed(at(5, "2B0229"), at(5, "2B022C"))
    assert has_passed(at(6, "2B0229"), at(5, "2B022C"))
    assert not has_passed(at(5, None), at(5, "2B0229"))
    assert has_passed(at(6, None), at(5, "2B0229"))
    assert not has_passed(Position(None, None), at(1, None))


DOCUMENT = {"_id": 1}


@pytest.mark.parametrize("looked_up", [True, False])
@pytest.mark.parametrize(
    ("change", "document"),
    [
        ({"operationType": "insert", "fullDocument": DOCUMENT}, "exact"),
        ({"operationType": "replace", "fullDocument": DOCUMENT}, "exact"),
        ({"operationType": "read", "fullDocument": DOCUMENT}, "exact"),
        ({"operationType": "update"}, "missing"),
        ({"operationType": "update", "fullDocument": None}, "missing"),
        ({"operationType": "delete"}, None),
        ({"operationType": "drop"}, None),
        ({"operationType": "createIndexes"}, None),
    ],
)
def test_what_is_certain_of_a_document_however_updates_get_theirs(
    change: dict[str, Any], document: str | None, looked_up: bool
) -> None:
    """After a delete there is no document, so none is missing."""
    assert document_of(change, looked_up) == document


@pytest.mark.parametrize(("looked_up", "document"), [(True, "lookup"), (False, "exact"), (None, None)])
def test_an_updates_document_is_what_its_stream_says(looked_up: bool | None, document: str | None) -> None:
    assert document_of({"operationType": "update", "fullDocument": DOCUMENT}, looked_up) == document


def test_a_step_that_replaces_the_body_changes_nothing_about_the_document() -> None:
    event = make_event(operation="insert")
    event.body = {"order": 7}
    assert event.document == "exact"


def test_only_existing_documents_belong_to_a_backfill() -> None:
    assert (make_event().backfill, make_event().only) == ("", None)
    assert make_read(backfill="bf_7").backfill == "bf_7"
