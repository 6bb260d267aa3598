"""Templates: a text either is none, which is said at once, or it renders every event there is."""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from mess.errors import Refused
from mess.event import Event, Namespace
from mess.formats.template import Template, reader

OID = ObjectId("65a000000000000000000001")
TOKEN = {"_id": {"_data": "82AA"}, "operationType": "insert"}


def event(**body: Any) -> Event:
    return Event({**TOKEN, **body}, Namespace("shop", "orders"))


def render(text: str, **body: Any) -> str:
    return Template(text)(event(**body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("order {documentKey._id}", "order 65a000000000000000000001"),
        ("{db}.{collection}", "shop.orders"),
        ("{operation}/{operationType}", "insert/insert"),
        ("{fullDocument.items.1.sku}!", "b!"),
        ("{fullDocument.total}{fullDocument.paid}", "9.5true"),
        ("[{fullDocument.missing}{fullDocument.note}]", "[]"),
        ("{fullDocument.address}", '{"city":"Turin"}'),
        ("{fullDocument.at}", "2026-01-02T03:04:05.000Z"),
        ("{{{db}}}", "{shop}"),
        ("{{db}}", "{db}"),
        ("100 % %s %d {db}", "100 % %s %d shop"),
        ("line\n{db}\ttab", "line\nshop\ttab"),
        ("{fullDocument.missing|eu}{fullDocument.note|us}{fullDocument.empty|none}", "euusnone"),
        ("{fullDocument.total|0}", "9.5"),
        ("{fullDocument.missing|}", ""),
        ("{fullDocument.missing| a | b }", " a | b "),
        ("{fullDocument.a||b}{fullDocument.a||c|d||e}", "pipe" + "d||e"),
        ("{fullDocument.z|||x}{fullDocument.a|||x}", "xa-pipe"),
        ("{db|x}{{{db|y}}}", "shop{shop}"),
    ],
)
def test_places_are_filled_in(text: str, expected: str) -> None:
    document = {
        "total": 9.5,
        "paid": True,
        "note": None,
        "empty": "",
        "a|b": "pipe",
        "a|": "a-pipe",
        "items": [{"sku": "a"}, {"sku": "b"}],
        "address": {"city": "Turin"},
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    }
    assert render(text, documentKey={"_id": OID}, fullDocument=document) == expected


def test_the_events_own_names_do_not_depend_on_its_body() -> None:
    """Whatever a step before has made of it."""
    changed = event()
    identity = changed.id
    changed.body = {"db": "other", "operation": "other"}
    assert Template("{$id} {db} {collection} {operation}")(changed) == f"{identity} shop orders insert"


@pytest.mark.parametrize("text", ["{", "}", "{a", "a}", "{a{b}", "{}", "{a..b}", "{.a}", "{a.}", "{{}", "{}}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"brace|path"):
        Template(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Int64(2**62), str(2**62)),
        (Decimal128("12.50"), "12.50"),
        (float("nan"), ""),
        ('a "quoted" text', 'a "quoted" text'),
        (Binary(b"\x00\xff"), "AP8="),
        (DatetimeMS(253402300800000), "+010000-01-01T00:00:00.000Z"),
        (False, "false"),
        ([1, "a"], '[1,"a"]'),
        ("", ""),
    ],
)
def test_values_are_written_as_in_plain_json_and_texts_without_quotes(value: Any, expected: str) -> None:
    assert render("{v}", v=value) == expected


@pytest.mark.parametrize(
    ("body", "state"), [({}, "missing"), ({"v": None}, "null"), ({"v": float("nan")}, "null"), ({"v": ""}, "empty")]
)
def test_a_required_value_that_is_not_there_refuses_the_event(body: dict[str, Any], state: str) -> None:
    """Rather than send it somewhere else, such as to the topic `shop.`."""
    with pytest.raises(Refused) as caught:
        Template("{db}.{v}", required="target")(event(**body))
    reason = f"target: v is {state} in this event (insert); give it a default, as in {{v|none}}"
    assert str(caught.value) == reason
    assert Template("{db}.{v|x}", required="target")(event(**body)) == "shop.x"
    assert Template("{db}.{v|}", required="target")(event(**body)) == "shop."


def test_a_whole_databases_events_have_a_substitute_for_the_collection_where_one_is_required() -> None:
    change = Event({**TOKEN, "operationType": "dropDatabase"}, Namespace("shop"))
    assert Template("{db}.{collection}", required="target")(change) == "shop._database"
    assert Template("{db}.{collection|all}", required="target")(change) == "shop.all"
    assert Template("{db}.{collection}")(change) == "shop."
    assert Template("{db}.{collection|all}")(change) == "shop.all"


def test_constant_tells_whether_all_events_give_the_same() -> None:
    assert Template("orders {{}}").constant
    assert not Template("orders {db}").constant


bson_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.integers(-(2**62), 2**62).map(DatetimeMS)
    | st.decimals(allow_nan=True, places=3, min_value=-(10**9), max_value=10**9).map(str).map(Decimal128)
    | st.sampled_from([OID, Timestamp(1, 2), Regex("a", "i"), Code("x"), MinKey(), MaxKey(), DBRef("c", OID)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(["a", "b", "0", "documentKey", "fullDocument"]), bson_values, max_size=4)
texts = st.text() | st.text(alphabet="{}ab.0$%id", max_size=30)


@given(text=texts, body=bodies)
@example(text="{a}", body={"a": [float("nan")]})
@example(text="%{a.0}%%", body={"a": ["%s"]})
@example(text="{a.²}", body={"a": [1]})
@example(text="{a." + "9" * 5000 + "}", body={"a": [1]})
def test_any_text_is_refused_or_renders_any_event(text: str, body: dict[str, Any]) -> None:
    """A mistake is found when the config is read, never while events flow."""
    with contextlib.suppress(ValueError):
        template = Template(text)
        assert isinstance(template(event(**body)), str)


@given(path=st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4).map(".".join), body=bodies)
def test_a_reader_never_raises_and_gives_its_default_where_nothing_is(path: str, body: dict[str, Any]) -> None:
    found = reader(path, "default")(event(**body))
    value: Any = event(**body).body
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            assert found == "default"
            return
    assert repr(found) == repr(value)
