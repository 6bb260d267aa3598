"""field-map: a new body from the fields of the old one, and the old one untouched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from mess.event import Event, Namespace
from mess.steps.base import Context
from mess.steps.field_map import FieldMapConfig


def mapped(config: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    change = {"_id": {"_data": "82AA"}, "operationType": "insert", **body}
    before = copy.deepcopy(change)
    event = Event(change, Namespace("shop", "orders"))
    result = FieldMapConfig.model_validate(config).build(Context()).apply(event)  # type: ignore[attr-defined]
    assert change == before, "the change event is never altered"
    assert result is event
    return event.body


BODY = {
    "documentKey": {"_id": 7},
    "fullDocument": {"total": 9.5, "items": [{"sku": "a"}, {"sku": "b"}], "note": None, "address": {"city": "Turin"}},
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"order": "documentKey._id", "total": "fullDocument.total"}, {"order": 7, "total": 9.5}),
        ({"operation": "operationType"}, {"operation": "insert"}),
        ({"second": "fullDocument.items.1.sku"}, {"second": "b"}),
        ({"city": "fullDocument.address.city"}, {"city": "Turin"}),
        ({"nothing": "fullDocument.missing"}, {}),
        ({"nothing": "fullDocument.items.9.sku"}, {}),
        ({"nothing": "fullDocument.total.deeper"}, {}),
        ({"note": "fullDocument.note"}, {"note": None}),
        ({"status": {"path": "fullDocument.status", "default": "new"}}, {"status": "new"}),
        ({"status": {"path": "fullDocument.status", "default": None}}, {"status": None}),
        ({"total": {"path": "fullDocument.total", "default": 0}}, {"total": 9.5}),
        ({"source": {"value": "shop"}}, {"source": "shop"}),
        ({"source": {"value": {"a": [1]}}}, {"source": {"a": [1]}}),
        ({"title": {"template": "order {documentKey._id}: {fullDocument.total}"}}, {"title": "order 7: 9.5"}),
        (
            {"title": {"template": "{db}.{collection}{fullDocument.missing}{fullDocument.note}"}},
            {"title": "shop.orders"},
        ),
        ({"a.b": {"template": "{{{operation}}}"}}, {"a": {"b": "{insert}"}}),
        ({"constant": {"template": "as it is"}}, {"constant": "as it is"}),
        ({"nothing": {"value": None}}, {"nothing": None}),
        ({"order.id": "documentKey._id", "order.total": "fullDocument.total"}, {"order": {"id": 7, "total": 9.5}}),
    ],
)
def test_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert mapped({"fields": fields}, BODY) == expected


def test_dollar_id_is_the_events_id() -> None:
    body = mapped({"fields": {"id": "$id"}}, BODY)
    assert body["id"].startswith("msg_")


def test_dollar_id_in_a_template_is_the_events_id() -> None:
    plain, written = (mapped({"fields": {"id": source}}, BODY)["id"] for source in ("$id", {"template": "{$id}"}))
    assert plain == written


def test_a_template_that_meets_what_no_json_can_hold_refuses_that_event_alone() -> None:
    """A user's function may have put it there."""
    step = FieldMapConfig.model_validate({"fields": {"a": {"template": "{v}"}}}).build(Context())
    event = Event({"_id": {"_data": "82AA"}, "operationType": "insert"}, Namespace("shop", "orders"))
    event.body = body = {"v": {1, 2}}
    with pytest.raises(TypeError, match="JSON"):
        step.apply(event)
    assert event.body is body


def test_keep_all_begins_with_the_old_body() -> None:
    body = mapped({"keep": "all", "fields": {"extra": {"value": 1}}}, BODY)
    assert body["fullDocument"] == BODY["fullDocument"]
    assert body["extra"] == 1


def test_drop_takes_out_paths_and_array_elements_and_ignores_what_is_not_there() -> None:
    body = mapped({"keep": "all", "drop": ["fullDocument.address", "fullDocument.items.0", "no.such.thing"]}, BODY)
    assert body["fullDocument"] == {"total": 9.5, "items": [{"sku": "b"}], "note": None}


def test_a_field_within_a_copied_document_does_not_reach_the_original() -> None:
    body = mapped({"fields": {"doc": "fullDocument", "doc.seen": {"value": True}}, "drop": ["doc.items"]}, BODY)
    assert body["doc"] == {"total": 9.5, "note": None, "address": {"city": "Turin"}, "seen": True}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"fields": {"a": {"path": "b", "value": 1}}},
        {"fields": {"a": {}}},
        {"fields": {"a": {"path": "b", "template": "c"}}},
        {"fields": {"a": {"template": "b", "value": 1}}},
        {"fields": {"a": {"template": "b", "default": 1}}},
        {"fields": {"a": {"template": "b {c"}}},
        {"fields": {"a": {"template": "{b..c}"}}},
        {"fields": {"a": {"template": 5}}},
        {"fields": {"a": {"path": None}}},
        {"fields": {"a": "b..c"}},
        {"fields": {"": "b"}},
        {"fields": {"a": {"value": 1, "default": 2}}},
        {"fields": {"a": "b"}, "keep": "some"},
        {"fields": {"a": "b"}, "drop": [""]},
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FieldMapConfig.model_validate(config)
