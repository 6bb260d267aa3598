"""What passes, what fails, and how that is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mess.cases.result import diff
from tests.unit.cases.files import CONFIG, item, order, result_of

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()


def block(text: str) -> str:
    """The block of the page with this text."""
    found = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(each for each in found if text in each)


async def test_the_case_in_the_docs_passes() -> None:
    result = await result_of(block("expect:"), config=block("databases:"))
    assert result.passed, result.differences
    assert [each.keys() & {"dropped", "refused"} for each in result.outcomes] == [set(), {"dropped"}, {"refused"}]


async def test_the_difference_in_the_docs_is_what_is_shown() -> None:
    changed = block("databases:").replace(", total:", ", sum:")
    result = await result_of(block("expect:"), config=changed)
    [difference] = result.differences
    shown = "\n".join(f"    {line}" for line in diff(difference.expected, difference.actual))
    assert shown in block("1 failed")


@pytest.mark.parametrize(
    "expect",
    [
        "{}",
        "{sent: {http: {}}}",
        "{sent: {http: {body: {total: 120, order: 1}}}}",
        "{sent: {http: {body_contains: {total: 120}}}}",
        "{sent: {http: {url: 'https://example.com/shop/1', headers: {X-SHOP: one}}}}",
        "{sent: {http: {headers: {content-type: application/json, mess-document: exact}}}}",
        "{after: {field-map: {order: 1, total: 120}}}",
    ],
)
async def test_only_what_is_written_is_compared(expect: str) -> None:
    assert (await result_of(f"events:\n{order(120)}expect: [{expect}]")).passed


@pytest.mark.parametrize(
    "expect",
    [
        "{sent: {http: {body: {total: 120}}}}",
        "{sent: {http: {body: {total: 120, order: true}}}}",
        "{sent: {http: {body: null}}}",
        "{sent: {http: {body_contains: {total: 12}}}}",
        "{sent: {http: {body_contains: {sum: 120}}}}",
        "{sent: {http: {url: 'https://example.com/shop/2'}}}",
        "{sent: {http: {headers: {x-shop: two}}}}",
        "{sent: {http: {headers: {x-api-key: s3same}}}}",
        "{after: {field-map: {order: 1}}}",
        "{dropped: true}",
        "{dropped: field-map}",
        "{refused: filter}",
        "{retried: filter}",
    ],
)
async def test_what_differs_fails(expect: str) -> None:
    result = await result_of(f"events:\n{order(120)}expect: [{expect}]")
    assert not result.passed
    [difference] = result.differences
    assert difference.number == 1
    assert diff(difference.expected, difference.actual)


@pytest.mark.parametrize(
    ("expect", "passes"),
    [
        ("dropped: true", True),
        ("dropped: filter", True),
        ("dropped: http", False),
        ("refused: filter", False),
        ("after: {}", False),
    ],
)
async def test_a_dropped_event_has_to_be_expected(expect: str, passes: bool) -> None:
    result = await result_of(f"events:\n{order(5)}expect: [{{{expect}}}]")
    assert result.passed == passes
    assert result.outcomes[0]["sent"] == {}


@pytest.mark.parametrize(
    ("n", "expect", "passes"),
    [
        (13, "refused: thirteen", True),
        (13, "refused: 'grow: ValueError'", True),
        (13, "refused: fourteen", False),
        (13, "retried: thirteen", False),
        (13, "sent: {}", False),
        (14, "retried: asleep", True),
        (14, "refused: asleep", False),
    ],
)
async def test_a_failure_has_to_be_expected_with_its_reason(n: int, expect: str, passes: bool) -> None:
    assert (await result_of(f"events:\n{item(n)}expect: [{{{expect}}}]")).passed == passes


async def test_functions_run_and_a_queue_step_says_what_it_would_publish() -> None:
    message = "{target: shop.items, key: '2', headers: {x-n: '2', content-type: application/json}, body: {n: 2}}"
    result = await result_of(f"events:\n{item(1)}expect: [{{sent: {{queue: {message}}}, after: {{grow: {{n: 2}}}}}}]")
    assert result.passed, result.differences


async def test_a_function_that_returns_no_json_is_refused_by_the_sink() -> None:
    """And the case does not end with an error of its own."""
    result = await result_of(f"events:\n{item(15)}expect: [{{refused: queue}}]")
    assert result.passed, result.differences
    assert "no JSON" in result.outcomes[0]["after"]["grow"]


async def test_each_event_takes_the_pipeline_of_its_namespace_unless_the_case_names_one() -> None:
    events = f"events:\n{order(120)}{item(1)}"
    assert [list(each["sent"]) for each in (await result_of(events)).outcomes] == [["http"], ["queue"]]
    [outcome] = (await result_of(f"pipeline: top level\nevents:\n{item(1)}")).outcomes
    assert outcome["refused"].startswith("filter: when")


async def test_what_mongodb_and_the_relay_do_before_is_noted() -> None:
    config = CONFIG.replace("orders: {}", "orders: {operations: [delete], match: {a: 1}, exclude: [card]}")
    notes = (await result_of(f"events:\n{order(120)}{order(130)}", config=config)).notes
    assert [note.partition(": ")[2].split()[0] for note in notes] == ["operations", "match", "exclude"]
    assert (await result_of(f"events:\n{order(120)}")).notes == ()


async def test_a_case_is_the_same_at_any_time() -> None:
    """Ids come from the events, and times of sending are left out."""
    config = "databases: {shop: {}}\npipeline:\n"
    config += "  - {name: http, config: {endpoint: 'https://h/', format: cloudevents, sign: {secret: %s}}}\n"
    config += "  - {name: queue, config: {url: 'redis://h', format: debezium}}\n"
    config %= "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    first, second = [(await result_of(f"events:\n{order(1)}{order(2)}", config=config)).outcomes for _ in range(2)]
    assert first == second
    assert first[0]["sent"]["http"]["body"]["id"] != first[1]["sent"]["http"]["body"]["id"]
    assert "ts_ms" not in first[0]["sent"]["queue"]["body"]
    assert not [name for name in first[0]["sent"]["http"]["headers"] if name.startswith("webhook")]


async def test_an_event_that_the_format_has_no_form_for_bypasses_the_step() -> None:
    config = "databases: {shop: {}}\npipeline: [{name: queue, config: {url: 'redis://h', format: debezium}}]"
    result = await result_of("events: [{operationType: drop, ns: {db: shop, coll: a}}]\nexpect: [{}]", config=config)
    assert result.passed
    assert result.outcomes[0]["sent"] == {}


async def test_no_secret_is_in_a_result() -> None:
    config = CONFIG.replace("{order:", "{secret: {value: 'Bearer of-the-ring'}, order:")
    config = config.replace("X-Api-Key: s3same", "Authorization: Bearer of-the-ring")
    case = f"events:\n{order(120)}expect: [{{sent: {{http: {{body: {{secret: Bearer of-the-ring}}}}}}}}]"
    result = await result_of(case, config=config)
    [difference] = result.differences
    assert "of-the-ring" not in str((result.outcomes, difference.expected, difference.actual))
    assert difference.actual["sent"]["http"]["body"]["secret"] == "Bearer ***"
