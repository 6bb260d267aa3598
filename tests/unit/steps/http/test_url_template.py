"""Endpoints with placeholders: every value stays where it was put, whatever it holds."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from mess.errors import Refused
from mess.event import Event, Namespace
from mess.steps.http.url_template import UrlTemplate

ORDERS = Namespace("shop", "orders")


def event(namespace: Namespace = ORDERS, **body: Any) -> Event:
    return Event({"_id": {"_data": "82AA"}, "operationType": "insert", **body}, namespace)


def url(text: str, namespace: Namespace = ORDERS, **body: Any) -> str:
    return str(UrlTemplate(text)(event(namespace, **body)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/hooks/{db}/{collection}", "https://example.com/hooks/shop/orders"),
        ("https://example.com:8443/{db}-{collection}.json", "https://example.com:8443/shop-orders.json"),
        ("https://me:pw@example.com/{db}", "https://example.com/shop"),
        ("http://h/a?db={db}&id={v}&x=1", "http://h/a?db=shop&id=1%2F2&x=1"),
        ("http://h?db={db}", "http://h/?db=shop"),
        ("http://h/a b/é/{v}", "http://h/a%20b/%C3%A9/1%2F2"),
        ("http://h/{missing|none}", "http://h/none"),
        ("http://h/{missing|a/b?c}", "http://h/a%2Fb%3Fc"),
        ("http://h/x{missing|}", "http://h/x"),
        ("http://h/x?y={missing|}", "http://h/x?y="),
        ("http://h/{{db}}/{db}", "http://h/%7Bdb%7D/shop"),
        ("http://h/placeholder/{db}", "http://h/placeholder/shop"),
        (
            "http://h/placeholder0x{db}PlaceHolder1x/%70laceholder2x",
            "http://h/placeholder0xshopPlaceHolder1x/placeholder2x",
        ),
        ("http://h/100%25/{db}?a=b+c%20d", "http://h/100%25/shop?a=b+c%20d"),
        ("http://h/hook", "http://h/hook"),
    ],
)
def test_values_are_filled_in(text: str, expected: str) -> None:
    assert url(text, v="1/2") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("a/b", "a%2Fb"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("%2e%2e", "%252e%252e"),
        ("?x#y", "%3Fx%23y"),
        ("\0\r\n\t ", "%00%0D%0A%09%20"),
        ("\\", "%5C"),
        (";a=1&b", "%3Ba%3D1%26b"),
        ("naïve 🙂", "na%C3%AFve%20%F0%9F%99%82"),
        ("@host:1", "%40host%3A1"),
    ],
)
def test_a_value_is_one_segment_of_the_path(value: str, expected: str) -> None:
    assert url("http://h/hooks/{v}/end", v=value) == f"http://h/hooks/{expected}/end"


def test_dots_that_come_together_are_no_way_up() -> None:
    """Neither from two values nor with a constant dot beside one."""
    assert url("http://h/a/{v}{v}", v=".") == "http://h/a/%2E%2E"
    assert url("http://h/a/.{v}/b", v=".") == "http://h/a/%2E%2E/b"
    assert url("http://h/a/%2e{v}/b", v=".") == "http://h/a/%2E%2E/b"


@given(value=st.text(min_size=1))
@example(value="..")
@example(value="%00")
def test_any_text_arrives_as_it_is_and_where_it_belongs(value: str) -> None:
    found = UrlTemplate("http://h:81/a/{v}/b?q={v}&r=1")(event(v=value))
    raw = str(found)
    assert (found.host, found.port, found.raw_fragment) == ("h", 81, "")
    path, _, query = raw.removeprefix("http://h:81/a/").partition("?")
    segment, slash, rest = path.partition("/")
    assert (unquote(segment), slash, rest) == (value, "/", "b")
    assert segment not in (".", "..")
    first, _, second = query.partition("&")
    assert (unquote(first.removeprefix("q=")), second) == (value, "r=1")
    assert all(33 <= ord(character) < 127 for character in raw)
    assert str(URL(raw, encoded=True)) == raw


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "endpoint: v is missing in this event (insert); give it a default, as in {v|none}"),
        ({"v": None}, "endpoint: v is null in this event (insert)"),
        ({"v": float("nan")}, "endpoint: v is null in this event (insert)"),
        ({"v": ""}, "endpoint: v is empty in this event (insert)"),
    ],
)
@pytest.mark.parametrize("text", ["http://h/{v}", "http://h/x-{v}", "http://h/?v={v}"])
def test_an_event_without_the_value_is_refused_with_the_reason(text: str, body: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        UrlTemplate(text)(event(**body))
    assert str(caught.value).startswith(reason)


def test_an_empty_segment_is_refused_even_by_default() -> None:
    with pytest.raises(Refused, match="a segment of its path would be empty"):
        UrlTemplate("http://h/{v|}/x")(event())


@pytest.mark.parametrize(
    ("text", "value"),
    [("http://h/{v}", "x" * 7992), ("http://h/{v}", "é" * 1332), ("http://h/?v={v}", "x" * 3_000_000)],
)
def test_an_event_whose_url_no_server_may_take_is_refused(text: str, value: str) -> None:
    """A server that breaks the connection on it would look down, for ever, and hold up the stream."""
    with pytest.raises(Refused, match="longer than 8,000 characters") as caught:
        UrlTemplate(text)(event(v=value))
    assert caught.value.local
    assert value[:10] not in str(caught.value)


def test_a_url_of_the_length_that_every_server_should_take_is_sent() -> None:
    assert len(url("http://h/{v}/{w}", v="x" * 3990, w="/" * 1333)) == 7999
    assert len(url("http://h/{v}", v="x" * 7990)) == 7999


@pytest.mark.parametrize(
    "text",
    ["http://h/" + "x" * 7992, "http://h/" + "é" * 1400, "http://h/" + "é" * 1400 + "{v}", "http://h/" + "{v}" * 9000],
)
def test_an_endpoint_that_is_too_long_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="longer than 8,000 characters"):
        UrlTemplate(text)


def test_an_event_of_a_whole_database_has_a_substitute_for_its_collection() -> None:
    database = Namespace("shop")
    assert url("http://h/{db}/{collection}", database) == "http://h/shop/_database"
    assert url("http://h/{db}/{collection|all}", database) == "http://h/shop/all"


@pytest.mark.parametrize(
    "text",
    [
        "http://{db}/",
        "http://{db}.example.com/",
        "http://h:{db}/",
        "http://{db}@h/",
        "http://u:{db}@h/",
        "{db}://h/",
        "{db}",
        "http://h{db}",
        "http://h\\{db}",
    ],
)
def test_a_placeholder_never_says_whom_to_connect_to(text: str) -> None:
    with pytest.raises(ValueError, match=r"only in the path and the query|not a URL|not an http"):
        UrlTemplate(text)


@pytest.mark.parametrize("text", ["http://h/#{db}", "http://h/{db}/../x", "http://h/a/{db}/.."])
def test_a_placeholder_that_would_never_be_sent_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="never sent"):
        UrlTemplate(text)


def test_the_constant_parts_are_known() -> None:
    """They often are secrets, and must be found in texts."""
    template = UrlTemplate("https://u:p@h/services/T0123/{db}-secret?key=abc&c={collection}&z=1")
    assert template.constant_segments == ["services", "T0123", "-secret"]
    assert template.constant_query == ["key=abc&c=", "&z=1"]
    assert str(template.origin) == "https://u:p@h"
    assert not template.constant
    assert UrlTemplate("https://h/x").constant
