"""Records from Kafka: what the queue step wrote is the same event again, and nothing that others write does harm."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Code, DBRef
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.formats.extended_json import _JAVA_LARGER, _JAVA_TYPES
from mess.capture.kafka.record import Record
from mess.event import Event
from mess.relay.dispatch import ordering_key
from mess.state.letters import pack
from mess.state.store import DeadLetter
from tests.fuzz.profiles import examples
from tests.fuzz.strategies import events
from tests.unit.capture.kafka.records import decode, published, record, sent
from tests.unit.capture.kafka.test_debezium import DOCUMENT, KEY, SOURCE, UPDATE, value

FORMATS = ("auto", "mess", "debezium", "mongodb")


def ambiguous(found: Any) -> bool:
    """Whether a document has fields named like types of Extended JSON, which no reader can tell from these."""
    if isinstance(found, DBRef):
        return ambiguous(found.id)
    if isinstance(found, Code) and found.scope is not None:
        return ambiguous(found.scope)
    if isinstance(found, dict):
        names = {*_JAVA_TYPES, *_JAVA_LARGER}
        return not names.isdisjoint(found) or any(map(ambiguous, found.values()))
    return isinstance(found, list) and any(map(ambiguous, found))


@examples(200)
@given(events)
def test_canonical_json_makes_no_difference(direct: Event) -> None:
    assume(not ambiguous(direct.change))
    [event] = decode(published(direct, json="canonical"))
    assert (event.id, event.operation, event.namespace) == (direct.id, direct.operation, direct.namespace)
    assert ordering_key(event, "document") == ordering_key(direct, "document")
    for then in ("plain", "canonical"):
        assert sent(event, json=then) == sent(direct, json=then)


@examples(100)
@given(events)
def test_bson_makes_no_difference(direct: Event) -> None:
    [event] = decode(published(direct, format="bson"))
    assert (event.id, event.operation, event.namespace) == (direct.id, direct.operation, direct.namespace)
    assert ordering_key(event, "document") == ordering_key(direct, "document")
    assert sent(event, json="canonical") == sent(direct, json="canonical")


@examples(100)
@given(events)
def test_plain_json_makes_no_difference_to_plain_json(direct: Event) -> None:
    [event] = decode(published(direct))
    assert (event.id, event.operation, event.namespace) == (direct.id, direct.operation, direct.namespace)
    assert sent(event) == sent(direct)


_NAMES = st.sampled_from([*_JAVA_TYPES, "$scope", "$type", "_id", "_data", "db", "a\0"])
_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.integers(-(2**80), 2**80),
        st.text(max_size=5),
        st.sampled_from(
            ["65f0a1b2c3d4e5f601020304", "2026-01-31T12:00:00Z", "9" * 400, "\ud800", "{}", '{"a":', "x\0"]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*_JAVA_TYPES, "$scope", "$type", "_id", "_data", "db", "a\0"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_CHANGE: dict[str, Any] = json.loads(
    '{"_id": {"_data": "82AA"}, "operationType": "insert", "ns": {"db": "shop", "coll": "orders"}, "clusterTime": '
    '{"$timestamp": {"t": 1, "i": 2}}, "wallTime": {"$date": {"$numberLong": "5"}}, "documentKey": {"_id": 1}, '
    '"fullDocument": {"_id": 1}, "to": {"db": "a", "coll": "b"}}'
)
_SHAPES: list[dict[str, Any]] = [
    _CHANGE,
    {**_CHANGE, "operationType": "rename"},
    json.loads(value("u", DOCUMENT, updateDescription=UPDATE)),
    {"specversion": "1.0", "id": "msg_x", "data": _CHANGE, "messbackfill": "bf"},
    {"schema": {}, "payload": _CHANGE},
    {"ts_ms": 5},
]


@st.composite
def _values(draw: st.DrawFn) -> bytes:
    """Nearly right."""
    shape = json.loads(json.dumps(draw(st.sampled_from(_SHAPES))))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = shape
        while True:
            name = draw(st.sampled_from(sorted(at)))
            if not isinstance(at[name], dict) or not at[name] or draw(st.booleans()):
                break
            at = at[name]
        if draw(st.booleans()):
            at[name] = draw(_JSON)
        else:
            del at[name]
            if not at:
                break
    data = json.dumps(shape).encode()
    return data if draw(st.integers(0, 9)) else data[: draw(st.integers(0, len(data)))]


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["mess-id", "mess-document", "mess-backfill", "mess-replay", "content-type", "\udc80"]),
        st.none() | st.binary(max_size=60) | st.sampled_from([b"exact", b"true", b"msg_" + b"A" * 52]),
    ),
    max_size=4,
)
_DEEP = [opening * 1000 + b"1" + closing * 1000 for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"))]
HOSTILE = [
    b"",
    b"\0",
    b"null",
    b"NaN",
    b"{" * 5000,
    b'{"operationType":"insert","operationType":5,"ns":{"db":"a"}}',
    b'{"operationType":"insert","ns":{"db":"a"},"documentKey":{"_id":{"a\\u0000":1}}}',
    b'{"operationType":"insert","ns":{"db":"\\ud800"},"documentKey":{"_id":"\\ud83d\\ude00\\udc00"}}',
    b'{"operationType":"insert","ns":{"db":"a"},"_id":{"_data":"\\udfff"}}',
    b'{"operationType":"insert","ns":{"db":"a"},"x":%b}' % (b"9" * 5000),
    b'{"operationType":"insert","ns":{"db":"a"},"clusterTime":{"t":-1,"i":2}}',
    b'{"operationType":"insert","ns":{"db":"a"},"wallTime":{"$date":{"$numberLong":"99999999999999999999"}}}',
    *(b'{"operationType":"insert","ns":{"db":"a"},"documentKey":{"_id":%b}}' % deep for deep in _DEEP),
    *(b'{"op":"c","source":%b}' % deep for deep in _DEEP),
    value("c", "[" * 1000),
    value("c", '{"_id":' + "[" * 400 + "]" * 400 + "}"),
    value("c", DOCUMENT, source={**SOURCE, "db": ["a"]}),
]


def harmless(one: Record) -> None:
    """A record gives one event, or one reason, or nothing, and the relay can handle the event."""
    for form in FORMATS:
        found, unreadable = decoder(form).events([one])
        assert len(found) + len(unreadable) <= 1
        for event in found:
            assert event.id.startswith("msg_")
            ordering_key(event, "document")
            ordering_key(event, ("documentKey", "_id"))
            now = datetime.now(timezone.utc)
            pack(
                DeadLetter(
                    id=event.id,
                    pipeline="p",
                    step="s",
                    namespace=event.namespace,
                    operation=event.operation,
                    key=event.key,
                    reason="",
                    error="",
                    attempts=1,
                    time=now,
                    event=event.change,
                    body=event.body,
                )
            )
        for each in unreadable:
            assert each.position.token == {"topic": "changes", "partition": 3, "offset": 42}
            assert len(each.reason) < 1000
            assert all(isinstance(name, str) for name in each.change.get("ns", {}).values())


@pytest.mark.parametrize("headers", [[], [("mess-id", b"msg_" + b"A" * 52)], [("mess-id", None)]])
@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_do_no_harm(data: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    harmless(record(data, KEY, headers))


@examples(300)
@given(_values() | st.binary(max_size=30), st.none() | st.binary(max_size=20) | st.just(KEY), _HEADERS)
@example(b"x", b"", [("mess-id", b"\xff")])
def test_nothing_does_harm(data: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    harmless(record(data, key, headers))


@pytest.mark.parametrize(
    "data",
    [
        b'{"password":"s3cret"}',
        b'{"password":"s3cret"',
        b'{"operationType":"insert","ns":"s3cret"}',
        b'{"specversion":"1.0","data":"s3cret"}',
        b'"s3cret"',
        value("c", '["s3cret"]'),
        value("s3cret"),
    ],
)
def test_a_reason_holds_nothing_of_a_document(data: bytes) -> None:
    [unreadable] = decoder("auto").events([record(data)])[1]
    assert "s3cret" not in unreadable.reason
