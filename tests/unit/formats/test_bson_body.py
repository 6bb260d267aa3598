"""`format: bson`: bodies as MongoDB itself writes them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Int64

from mess.capture.decode import VALUES
from mess.errors import Refused
from mess.formats.envelope import Format
from tests.unit.capture.kafka.records import published, sent
from tests.unit.fakes import make_event, make_read

FORMAT = Format.model_validate({"format": "bson"})


def test_a_body_is_the_change_event() -> None:
    event = make_event(5, key=Int64(7))
    body, headers = sent(event, format="bson")
    assert bson.decode(body, VALUES) == event.change
    assert headers["Content-Type"] == "application/bson"


def test_a_message_has_its_content_type_and_the_documents_id_as_key() -> None:
    one = published(make_event(5, key=Int64(7)), format="bson")
    assert (dict(one.headers)["content-type"], one.key) == (b"application/bson", b"7")


def test_a_batch_is_one_document_with_the_fields_that_it_has_in_json() -> None:
    events = [make_read(1, backfill="bf_7lqdmn2a5xke"), make_event(2), make_event(3, operation="drop")]
    envelope = FORMAT.envelope("mess")
    identity, body = envelope.join(events, [event.encode(envelope.encode) for event in events])
    read, insert, drop = events
    assert bson.decode(body, VALUES) == {
        "id": identity,
        "events": [
            {"id": read.id, "body": read.change, "document": "exact", "backfill": "bf_7lqdmn2a5xke"},
            {"id": insert.id, "body": insert.change, "document": "exact"},
            {"id": drop.id, "body": drop.change},
        ],
    }


def test_a_function_may_put_what_json_would_take_into_a_body() -> None:
    event = make_event()
    event.body = {"id": UUID(int=5), "at": datetime(2026, 1, 31, tzinfo=timezone.utc), "raw": b"x", "pair": (1, 2)}
    found = bson.decode(FORMAT.envelope("mess").encode(event))
    assert found == {"id": bson.Binary(UUID(int=5).bytes, 4), "at": datetime(2026, 1, 31), "raw": b"x", "pair": [1, 2]}


@pytest.mark.parametrize("body", [{"a": {1, 2}}, {"a": 2**64}, {"a\0": 1}])
def test_a_body_that_bson_cannot_hold_is_refused(body: dict[str, Any]) -> None:
    event = make_event()
    event.body = body
    with pytest.raises(Refused):
        sent(event, format="bson")
