"""`--update`: what is sent now becomes what is expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mess.cases.write import update
from tests.unit.cases.files import item, order, reading, result_of

EVENTS = f"events:\n{order(120)}{order(5)}{item(13)}{item(1)}"


def written(name: str = "case.yml") -> str:
    return Path(name).read_text()


async def updated(text: str, name: str = "case.yml") -> str:
    result = await result_of(text, name, update=True)
    assert not result.passed
    update(result.case, result.outcomes)
    return written(name)


@pytest.mark.parametrize(
    "text",
    [
        EVENTS,
        EVENTS.rstrip("\n"),
        EVENTS + "expect: [{}, {}, {}, {}]\n",
        f"# first\nexpect: [{{sent: {{htp: {{}}}}}}]\n{EVENTS}",
    ],
)
async def test_an_updated_case_passes_and_fails_when_something_changes(text: str) -> None:
    found = await updated(text)
    result = await result_of(found)
    assert result.passed, result.differences
    assert not (await result_of(found.replace("total: 120}", "total: 121}"))).passed


async def test_all_that_is_sent_and_how_events_end_is_written() -> None:
    sent, dropped, refused, published = (await result_of(await updated(EVENTS))).case.data["expect"]
    assert sent == {
        "sent": {
            "http": {
                "url": "https://example.com/shop/1",
                "headers": {"content-type": "application/json", "x-shop": "one", "mess-document": "exact"},
                "body": {"order": 1, "total": 120},
            }
        }
    }
    assert dropped == {"dropped": "filter"}
    assert refused == {"refused": "grow: ValueError: thirteen"}  # without the line, which any edit moves
    assert published["sent"]["queue"]["target"] == "shop.items"


async def test_comments_and_all_other_text_stay() -> None:
    before, after = "# why\n", "\n# about the pipeline\npipeline: top level  # here\n"
    events = f"events:  # two\n{order(120)}  # and\n{order(5)}"
    expect = "expect:\n  # gone\n  - {}\n  - {}\n"
    found = await updated(f"{before}{events}{expect}{after}")
    assert found.startswith(before + events + "expect:\n- sent:\n")
    assert found.endswith("- dropped: filter\n" + after)


async def test_json_stays_json() -> None:
    event = {"operationType": "insert", "ns": {"db": "shop", "coll": "orders"}, "fullDocument": {"total": 5.0}}
    case = {"pipeline": "top level", "events": [event]}
    found = json.loads(await updated(json.dumps(case), "case.json"))
    assert found == {**case, "expect": [{"dropped": "filter"}]}


async def test_an_event_becomes_a_case_and_of_a_dead_letter_only_the_event() -> None:
    event = {"operationType": "insert", "ns": {"db": "shop", "coll": "orders"}, "fullDocument": {"total": 5}}
    letter = {"id": "msg_1", "reason": "no", "history": [{"response": "private"}], "event": event, "document": "exact"}
    found = json.loads(await updated(json.dumps(letter), "case.json"))
    assert found["events"] == [{"id": "msg_1", "document": "exact", "event": event}]
    bare = await updated(json.dumps(event), "case.yml")
    assert (await result_of(bare)).passed


async def test_without_a_sink_the_last_body_is_expected() -> None:
    config = "databases: {shop: {}}\npipeline: [{name: field-map, config: {fields: {t: fullDocument.at}}}, log]"
    event = "{operationType: insert, ns: {db: shop, coll: a}, fullDocument: {at: {$date: 0}}}"
    result = await result_of(f"events: [{event}]", config=config)
    update(result.case, result.outcomes)
    result = await result_of(written(), config=config)
    assert result.passed
    assert result.case.data["expect"] == [{"after": {"log": {"t": {"$date": "1970-01-01T00:00:00Z"}}}}]


def test_an_expectation_that_the_config_cannot_fulfil_is_a_mistake_without_update() -> None:
    text = f"events:\n{order(120)}expect: [{{sent: {{htp: {{}}}}}}]"
    assert isinstance(reading(text), list)
    assert not isinstance(reading(text, update=True), list)
