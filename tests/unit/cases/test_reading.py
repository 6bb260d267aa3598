"""Case files: the forms of an event, and mistakes with their place and remedy."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId, Timestamp, json_util

from mess.cases.case import Case
from mess.cases.find import find
from mess.cli.dead_letters.listing import shape
from mess.errors import ConfigError
from mess.event import Event
from mess.state.records import DeadLetter
from tests.unit.cases.files import order, reading
from tests.unit.fakes import make_event, make_read

KEYS = ("id", "namespace", "operation", "key", "document", "backfill")


def events(text: str, name: str = "case.yml") -> list[Event]:
    case = reading(text, name)
    assert isinstance(case, Case), case
    return [event for event, _ in case.events]


def exported(event: Event, options: json_util.JSONOptions, document: str | None) -> str:
    """As `mess dead-letters export` writes it."""
    letter = DeadLetter(
        id=event.id,
        pipeline="shop",
        step="http",
        namespace=event.namespace,
        operation=event.operation,
        key=event.key,
        reason="no",
        error="Refused",
        attempts=1,
        time=datetime(2026, 1, 1, tzinfo=timezone.utc),
        event=event.change,
        body={"never": "used"},
        backfill=event.backfill,
        looked_up={"lookup": True, "exact": False}.get(document or ""),
    )
    return json_util.dumps(shape(letter), json_options=options)


@pytest.mark.parametrize("options", [json_util.CANONICAL_JSON_OPTIONS, json_util.RELAXED_JSON_OPTIONS])
@pytest.mark.parametrize(
    ("event", "document"),
    [
        (make_event(1), "exact"),
        (make_event(2, operation="update"), "lookup"),
        (make_event(3, operation="update"), "exact"),
        (make_event(4, operation="update"), None),
        (make_event(5, operation="drop"), None),
        (make_read(6, backfill="bf_1"), "exact"),
    ],
)
def test_an_exported_dead_letter_is_the_event_that_it_was(
    event: Event, document: str | None, options: json_util.JSONOptions
) -> None:
    event.looked_up = {"lookup": True, "exact": False}.get(document or "")
    [found] = events(exported(event, options, document), "letter.json")
    assert [getattr(found, name) for name in KEYS] == [getattr(event, name) for name in KEYS]
    assert found.change == event.change
    assert found.document == document or event.operation == "drop"


def test_a_change_event_has_the_id_that_a_relay_gives_it() -> None:
    event = make_event(7)
    for text in (json_util.dumps(event.change), json.dumps({"events": [json.loads(json_util.dumps(event.change))]})):
        assert [found.id for found in events(text, "event.json")] == [event.id]


def test_without_a_resume_token_an_id_depends_on_the_number() -> None:
    first, second = events(f"events:\n{order(1)}{order(1)}")
    assert first.id != second.id
    assert [event.id for event in events(f"events:\n{order(2)}{order(3)}")] == [first.id, second.id]


def test_values_have_the_types_that_a_stream_gives_them() -> None:
    values = """
      whole: 1
      large: 5000000000
      long: {$numberLong: "1"}
      id: {$oid: 65f0a1b2c3d4e5f601020304}
      quoted: {$date: "2026-01-01T00:00:00Z"}
      unquoted: {$date: 2026-01-01T02:00:00+02:00}
      bare: 2026-01-01
      stamp: {$timestamp: {t: 1, i: 2}}
    """
    text = f"events:\n- operationType: insert\n  ns: {{db: shop, coll: orders}}\n  fullDocument:{values}"
    [event] = events(text)
    found: dict[str, Any] = event.change["fullDocument"]
    day = datetime(2026, 1, 1)
    assert found == {
        "whole": 1,
        "large": 5_000_000_000,
        "long": 1,
        "id": ObjectId("65f0a1b2c3d4e5f601020304"),
        "quoted": day,
        "unquoted": day,
        "bare": day,
        "stamp": Timestamp(1, 2),
    }
    assert [type(found[name]) for name in ("whole", "large", "long")] == [int, Int64, Int64]


EVENT = order(1).removeprefix("  - ").strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "case.yml: is empty; a case has events: and expect:"),
        ("[1]", "case.yml:1: must be a mapping, with a list of change events"),
        ("events: {", "case.yml:2: not valid YAML"),
        ("expect: []", "case.yml: events: is missing"),
        ("events: []", "case.yml:1: events: "),
        ("events: [1]", "case.yml:1: events[0]: must be a mapping"),
        ("events:\n- {}", "case.yml:2: events[0]: is not a change event; it needs an operationType"),
        ("events:\n- {operationType: insert}", "case.yml:2: events[0]: needs a namespace, as in ns: {db: shop"),
        ("events:\n- {operationType: invalidate}", "case.yml:2: events[0]: invalidate"),
        ("events:\n- {operationType: a, ns: {db: b}, documentKey: 1}", "case.yml:2: events[0]: documentKey must be"),
        ("events:\n- {operationType: a, ns: {$oid: b}}", "case.yml:2: events[0]: is not a document in Extended JSON"),
        ("events:\n- {operationType: a, ns: {db: b}, n: {$oid: null}}", "$oid needs 24 hexadecimal digits"),
        ("events:\n- {operationType: a, ns: {db: b}, n: 99999999999999999999}", "case.yml:2: events[0]: is not a"),
        ("events:\n- {operationType: drop, ns: {db: b, coll: c}}", "case.yml:2: events[0]: the config has no pipeline"),
        (f"pipeline: shop.item\nevents: [{EVENT}]", "has 'top level', 'shop.items'; did you mean \"shop.items\"?"),
        (f"events: [{EVENT}]\nexpect: []", "case.yml:2: expect: must have an entry for each of the 1 events"),
        (f"events: [{EVENT}]\nexpect: {{}}", "case.yml:2: expect: must be a list"),
        (f"events: [{EVENT}]\nexpects: []", 'case.yml:2: expects: unknown key; did you mean "expect"?'),
        (f"events: [{EVENT}]\nexpect: [{{send: {{}}}}]", 'unknown key; did you mean "sent"?'),
        (
            f"events: [{EVENT}]\nexpect:\n- sent: {{htp: {{}}}}",
            "case.yml:3: expect[0].sent.htp: pipeline 'top level' has no",
        ),
        (f"events: [{EVENT}]\nexpect: [{{sent: {{filter: {{}}}}}}]", "sends nothing; write its body under after:"),
        (f"events: [{EVENT}]\nexpect: [{{after: {{http: 1}}}}]", "is a sink; write it under sent:"),
        (f"events: [{EVENT}]\nexpect: [{{dropped: filer}}]", "has no step 'filer'"),
        (f"events: [{EVENT}]\nexpect: [{{after: {{field-map: [2026-01-01]}}}}]", "put it in quotes"),
    ],
)
def test_a_mistake_has_its_place_and_a_remedy(text: str, problem: str) -> None:
    found = reading(text)
    assert isinstance(found, list)
    assert problem in "\n".join(found)


def test_all_mistakes_are_reported_together() -> None:
    found = reading("events:\n- {}\n- {operationType: insert}\n")
    assert isinstance(found, list)
    assert len(found) == 2


def test_cases_are_found_at_any_depth_and_in_order() -> None:
    for name in ("b.yml", "a/c.json", "a/b.yaml", ".hidden.yml", ".git/d.yml", "notes.txt"):
        path = Path("cases", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list(map(str, find([Path("cases")]))) == ["cases/a/b.yaml", "cases/a/c.json", "cases/b.yml"]
    assert find([Path("cases/b.yml"), Path("cases/b.yml")]) == [Path("cases/b.yml")]
    with pytest.raises(ConfigError, match="nothing: there is no such folder"):
        find([Path("nothing")])
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match="there is no case"):
        find([Path("empty")])
