"""filter: events for which a CEL expression is true pass; what it may refer to, and what it must not cost."""

from __future__ import annotations

import copy
import json
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mess.config.load import load
from mess.errors import BatchError, ConfigError, Refused
from mess.event import Event, Namespace
from mess.steps.base import Context
from mess.steps.filter import Filter, FilterConfig, _tree


def step(when: str) -> Filter:
    return FilterConfig.model_validate({"when": when}).build(Context())


def event(**body: Any) -> Event:
    return Event({"_id": {"_data": "82AA"}, "operationType": "insert", **body}, Namespace("shop", "orders"))


def passes(when: str, **body: Any) -> bool:
    one = event(**body)
    before = copy.deepcopy(one.body)
    result = step(when).apply(one)
    assert one.body == before, "the body is never altered"
    assert result is None or result is one
    return result is one


def refusal(when: str, **body: Any) -> str:
    with pytest.raises(Refused) as caught:
        step(when).apply(event(**body))
    assert caught.value.local, "it says nothing about a sink"
    return str(caught.value)


ORDER = {
    "total": 120,
    "status": "paid",
    "customer": {"name": "Ada", "country": "IT"},
    "items": [{"sku": "lamp", "n": 1}, {"sku": "desk", "n": 3}],
}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("event.fullDocument.total >= 100", True),
        ("event.fullDocument.total >= 200", False),
        ("event.operationType == 'insert' && event.fullDocument.customer.country in ['IT', 'FR']", True),
        ("event.fullDocument.items.exists(item, item.n > 2)", True),
        ("event.fullDocument.items.all(item, item.n > 2)", False),
        ("event.fullDocument.items[1].sku == 'desk'", True),
        ("size(event.fullDocument.items) == 2 && event.fullDocument.items.size() == 2", True),
        ("event.fullDocument.status.startsWith('pa')", True),
        ("event.fullDocument.status.matches('^p[a-z]+d$')", True),
        ('event["fullDocument"]["total"] == 120', True),
        ("event . fullDocument\n. total == 120 // as ordered", True),
        ("event.fullDocument.exists(key, key == 'total')", True),
        ("has(event.fullDocument.total)", True),
        ("has(event.fullDocument.discount)", False),
        ("has(event.fullDocument) && event.fullDocument.total >= 100", True),
        ("event.?fullDocument.?discount.orValue(0) == 0", True),
        ("event.fullDocument.total >= 100 || event.fullDocument.nothing", True),
        ("'the event.fullDocument' != ''", True),
        ("true", True),
    ],
)
def test_what_is_true_passes_and_all_else_is_dropped(when: str, expected: bool) -> None:
    assert passes(when, fullDocument=ORDER) == expected


@pytest.mark.parametrize(
    ("value", "when"),
    [
        (5, "event.v == 5 && event.v == 5.0 && event.v > 4"),
        (Int64(2**62), "event.v == 4611686018427387904"),
        (1.5, "event.v > 1"),
        ("naïve ☃", "event.v == 'naïve ☃' && size(event.v) == 7"),
        (True, "event.v"),
        (ObjectId("65f0a1b2c3d4e5f601020304"), "event.v == '65f0a1b2c3d4e5f601020304'"),
        (Decimal128("99.90"), "event.v == 99.9 && event.v < 100"),
        (Decimal128("NaN"), "event.v != event.v"),
        (datetime(2026, 1, 31, 12), "event.v == timestamp('2026-01-31T12:00:00Z') && event.v.getFullYear() == 2026"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))), "event.v < timestamp('2026-01-31T12:00:00Z')"),
        (Timestamp(1_700_000_000, 7), "event.v == timestamp(1700000000)"),
        (Binary(b"\x00\x01", 0), "event.v == 'AAE='"),
        (Binary(bytes(16), 4), "event.v == 'AAAAAAAAAAAAAAAAAAAAAA=='"),
        (b"ab", "event.v == 'YWI='"),
        (DatetimeMS(2**60), "event.v.startsWith('+')"),
        (Regex("a", "i"), "event.v == '/a/i'"),
        (Code("x"), "event.v == 'x'"),
        (DBRef("users", 7), "event.v['$ref'] == 'users' && event.v['$id'] == 7"),
        (MinKey(), "event.v['$minKey'] == 1"),
        (MaxKey(), "event.v['$maxKey'] == 1"),
        (
            {"a": {"b": [1, None]}},
            "event.v.a.b[0] == 1 && event.v.a.b[1] == null && event.v == {'a': {'b': [1, null]}}",
        ),
        ((1, 2), "event.v == [1, 2]"),
    ],
)
def test_what_values_are_in_an_expression(value: Any, when: str) -> None:
    """As docs/steps/filter.md has it. The same deep in an object or array that is taken as a whole."""
    assert passes(when, v=value)
    assert passes(when.replace("event.v", "event['v']"), v=value)


@pytest.mark.parametrize("body", [{}, {"fullDocument": None}, {"fullDocument": {}}, {"fullDocument": {"total": None}}])
def test_what_is_missing_or_null_makes_the_event_refused_unless_it_is_tested_or_has_a_default(
    body: dict[str, Any],
) -> None:
    """`fullDocument` is null in an update of a document that has been deleted since."""
    message = refusal("event.fullDocument.total >= 100", **body)
    assert message.startswith("when: Key not found in map")
    assert "orValue(0)" in message
    assert not passes("event.?fullDocument.?total.orValue(0) >= 100", **body)
    assert passes("!has(event.fullDocument) || !has(event.fullDocument.total)", **body)


@pytest.mark.parametrize(
    ("when", "body", "message"),
    [
        ("event.v >= 1", {"v": "1"}, "No matching overloads found"),
        ("event.v", {"v": 1}, "neither true nor false"),
        ("event.v", {"v": "true"}, "neither true nor false"),
        ("event.v + 1 > 0", {"v": 2**63 - 1}, "overflow"),
        ("1 / event.v > 0", {"v": 0}, "divide by zero"),
        ("event.v[3] == 1", {"v": [1]}, "Index error"),
        ("event.v == 1", {"v": 2**70}, "out of range"),
        ("event.v == 'a'", {"v": "a\0b"}, "NUL"),
        ("'x'.matches(event.v)", {"v": "("}, "invalid regular expression"),
        ("event.v == 'a'", {"v": "\ud800"}, "when: "),
    ],
)
def test_what_cannot_be_evaluated_is_refused(when: str, body: dict[str, Any], message: str) -> None:
    assert message in refusal(when, **body)


async def test_one_that_is_refused_holds_up_no_other() -> None:
    events = [event(n=1), event(n="x"), event(n=0), event(n=2)]
    with pytest.raises(BatchError) as caught:
        await step("event.n > 0").process(events)
    assert list(caught.value.errors) == [1]
    assert caught.value.passed == [events[0], events[3]]


# Only what an expression reads is converted: the result must be the same as with the whole body


@pytest.mark.parametrize(
    ("when", "tree"),
    [
        ("event.a.b == 1 && event.a.c == 2 && event.d", {"a": {"b": None, "c": None}, "d": None}),
        ("event.a.b == 1 && event.a.exists(x, x == 'b')", {"a": None}),
        ("event.a == event.a.b", {"a": None}),
        ("event.a.b.size() == 1", {"a": {"b": None}}),
        ("event.?a.?b.orValue(1) == 1", {"a": {"b": None}}),
        ("event.a[0].b == 1", {"a": None}),
        ("event['a'] == 1", None),
        ("event.size() == 1", None),
        ("event.a.b == 1 && size(event) > 1", None),
        ("event.`a-b` == 1", None),
        ("event. // c\n a == 1", None),
        (".event.a == 1", {"a": None}),
        ("true", {}),
    ],
)
def test_what_an_expression_reads(when: str, tree: Any) -> None:
    FilterConfig.model_validate({"when": when})
    assert _tree(when) == tree


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]) | st.floats(-1, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_PATHS = st.lists(st.sampled_from([".a", ".b", ".c", ".?a", ".?b", "[0]", "['a']"]), min_size=0, max_size=3)


@given(
    st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3),
    st.lists(
        st.tuples(
            _PATHS,
            st.sampled_from(
                ["has(event{})", "event{} == 1", "event{} > 0", "event{}.size() > 1", "event{}.all(k, k != 'a')"]
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([" && ", " || "]),
)
def test_an_expression_sees_no_difference(body: dict[str, Any], parts: Any, junction: str) -> None:
    """Whether the body is converted as a whole or only what the expression reads."""
    when = junction.join(form.format("".join(path)) for path, form in parts)
    try:
        made = step(when)
    except ValidationError:
        return
    whole = step(when)
    whole._tree = None

    def result(one: Filter) -> Any:
        change = Event({"_id": {"_data": "82AA"}, "operationType": "insert"}, Namespace("shop", "orders"))
        change.body = body
        try:
            return one.apply(change) is change
        except Refused as error:
            return str(error)

    assert result(made) == result(whole)


# Mistakes


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("event.total >=", "character 15 of the expression: syntax error: mismatched input 'the end'"),
        ("event.total >= 100 &&\n  nope == 3", "line 2, character 3 of the expression: undeclared reference to 'nope'"),
        ("sum(event.items) > 1", "character 4 of the expression: undeclared reference to 'sum'"),
        ("event.items.total() > 1", "character 18 of the expression: undeclared reference to 'total'"),
        ("size(event.a, 3) > 1", "character 5 of the expression: undeclared reference to 'size'"),
        ("event.a.map(x, x).size() > 1", "use exists, all or exists_one"),
        ("1 + 'a' == 2", "character 3 of the expression: found no matching overload"),
        ("1 + 1", "of type int; write a condition"),
        ("'insert'", "of type string; write a condition"),
        ("has(event)", "has() argument must be a field selection"),
        ("event.a.matches('(')", "matches('('): invalid regular expression"),
        ("event.at > timestamp('yesterday')", "timestamp('yesterday'): String to Timestamp conversion failed"),
        ("", "of the expression: syntax error"),
        ("(" * 40 + "true" + ")" * 40, "nested too deeply"),
        ("event" + ".a" * 3000 + " == 1", "nested too deeply"),
        ("true" + " && true" * 2000, "at most 10000 characters"),
    ],
)
def test_mistakes_are_found_before_any_event_flows(when: str, message: str, tmp_path: Path) -> None:
    """`mess validate` reports the option's line, and the place in the expression."""
    file = tmp_path / "config.yml"
    file.write_text(
        f"databases: {{shop: {{}}}}\npipeline:\n  - name: filter\n    config:\n      when: {json.dumps(when)}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    [problem] = caught.value.problems
    assert (problem.line, problem.path) == (5, "pipeline[0].config.when")
    assert message in problem.message


@pytest.mark.parametrize(
    ("when", "mistake"),
    [
        ("event.fullDocumnt.total > 1", 'fullDocumnt.total: a change event has no field "fullDocumnt"'),
        ("event.ns.collection == 'a'", 'ns.collection: ns has no field "collection"'),
    ],
)
def test_a_field_that_no_event_has_is_a_mistake(when: str, mistake: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(f'databases: {{shop: {{}}}}\npipeline:\n  - name: filter\n    config: {{when: "{when}"}}\n')
    with pytest.raises(ConfigError, match=r"config.yml:4: pipeline\[0\].config.when") as caught:
        load(file, environ={})
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    ("when", "warned"),
    [
        ("event.fullDocument.total > 1", True),
        ("event.fullDocument.?total.orValue(0) > 1", True),
        ("has(event.fullDocument.total)", True),
        ("event.?fullDocument.?total.orValue(0) > 1", False),
        ("has(event.fullDocument) && event.fullDocument.total > 1", False),
        ("event.operationType == 'insert' && event.fullDocument.total > 1", False),
        ("'event.fullDocument' != ''", False),
    ],
)
def test_operations_that_lack_a_field_are_warned_of(when: str, warned: bool, tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(f'databases: {{shop: {{}}}}\npipeline:\n  - name: filter\n    config: {{when: "{when}"}}\n')
    warnings = [str(warning) for warning in load(file, environ={}).warnings]
    assert bool(warnings) == warned
    for warning in warnings:
        assert "has no value in events of delete" in warning
        assert "event.?fullDocument" in warning


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from mess.steps import filter as module

    module._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    config = FilterConfig.model_validate({"when": "true"})
    with pytest.raises(ConfigError, match=r"when: the filter step requires: pip install 'mess\[filter\]'"):
        config.build(Context())


# Cost


@pytest.mark.parametrize(
    ("when", "body"),
    [
        ("event.v.matches('^(a+)+$')", {"v": "a" * 1_000_000 + "!"}),
        ("event.v.matches('(x+x+)+y')", {"v": "x" * 1_000_000}),
        ("event.v.all(a, event.v.all(b, event.v.all(c, a + b + c >= 0)))", {"v": [1] * 5000}),
        ("event.v.all(a, a >= 0)", {"v": [1] * 500_000}),
        ("'x'.matches(event.v)", {"v": "((a{1,100}){1,100}){1,100}"}),
        ("event.v == event.v", {"v": [["x"] * 1000] * 300}),
    ],
)
def test_no_document_makes_an_expression_run_for_long(when: str, body: dict[str, Any]) -> None:
    """Regular expressions take linear time, and loops end after 10,000 elements: the event is refused."""
    made, one = step(when), event(**body)
    began = time.perf_counter()
    with suppress(Refused):
        made.apply(one)
    assert time.perf_counter() - began < 2


def test_a_loop_that_is_too_long_is_refused_with_the_reason() -> None:
    assert "more than 10,000 elements" in refusal("event.v.all(a, a >= 0)", v=[1] * 10_001)
    assert passes("event.v.all(a, a >= 0)", v=[1] * 9_999)


@pytest.mark.parametrize(
    "when",
    [
        "!" * 9_900 + "true",
        "[" * 5_000 + "]" * 5_000,
        "true" + "||true" * 1_600,
        "event" + "[0]" * 3_000,
        "event" + " " * 9_900 + ".a",
        "event." + " " * 9_900,
        "event" * 1_900,
        "event.a" * 1_400,
        "'" + "\\" * 9_900,
        "matches('" * 1_100,
        "-" * 9_000 + "1 == 1",
        "true?" * 1_000 + "true" + ":true" * 1_000,
        "event.a.all(x," * 500,
    ],
)
def test_no_expression_takes_long_to_read(when: str) -> None:
    """At most 10,000 characters, however they are arranged, are accepted or refused at once."""
    began = time.perf_counter()
    try:
        config = FilterConfig.model_validate({"when": when})
    except ValidationError:
        pass
    else:
        list(config.named_values())
        config.build(Context())
    assert time.perf_counter() - began < 2
