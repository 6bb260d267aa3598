"""Whatever a document holds: it is written in every format, or refused; its key has a line; its dead letter is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, get_args

import bson
from bson import Code, DatetimeConversion, DBRef, json_util
from bson.json_util import JSONMode, JSONOptions
from hypothesis import assume, given
from hypothesis import strategies as st

from mess.errors import BatchError, Refused
from mess.event import Event
from mess.formats.base import Envelope
from mess.formats.envelope import Format
from mess.formats.java_json import strict
from mess.relay.dispatch import id_hash, ordering_key
from mess.state.letters import pack, unpack
from mess.state.store import DeadLetter
from mess.steps.base import Context, Step
from mess.steps.field_map import FieldMapConfig
from mess.steps.filter import FilterConfig
from mess.steps.http.step import HttpConfig
from mess.steps.log import LogConfig
from mess.steps.queue.step import Queue, QueueConfig
from tests.fuzz.profiles import examples
from tests.fuzz.sinks import Recorded
from tests.fuzz.strategies import LENIENT, documents, events, ids
from tests.receiver import Receiver
from tests.unit.fakes import make_event

JSONS = get_args(Format.model_fields["json_"].annotation)
CHOICES: list[dict[str, str]] = [
    {"format": format_, **({} if json_ is None else {"json": json_})}
    for format_ in get_args(Format.model_fields["format"].annotation)
    if format_ != "bson"  # it is no JSON; tests/fuzz/test_records.py reads it
    for json_ in ((None,) if format_ == "debezium" else JSONS)
]
ENVELOPES = [Format.model_validate(choice).envelope("mess") for choice in CHOICES]
choices = st.sampled_from(list(zip(CHOICES, ENVELOPES, strict=True)))
PATHS = ["documentKey._id", "fullDocument", "fullDocument.a", "fullDocument.0", "ns", "updateDescription.updatedFields"]
TEMPLATES = [
    "{db}.{collection}",
    "{documentKey._id}",
    "{fullDocument}",
    "{fullDocument.a}-{$id}",
    "{ns}",
    "x",
    "{wallTime}",
]
templates = st.sampled_from(TEMPLATES)


def strictly(text: bytes) -> Any:
    """JSON as the standard has it: Python's own parser also takes NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text.decode("utf-8"), parse_constant=refuse)


@examples(150)
@given(events)
def test_every_event_is_written_as_valid_json_in_every_format(event: Event) -> None:
    for choice, envelope in zip(CHOICES, ENVELOPES, strict=True):
        if not carried(envelope, event):
            continue
        body = envelope.encode(event)
        found = strictly(body)
        if choice["format"] != "debezium":
            assert (found["data"] if choice["format"] == "cloudevents" else found)["operationType"] == event.operation
        _, batch = envelope.join([event, event], [body, body])
        assert json.dumps(strictly(batch)).count(json.dumps(found)) == 2


def carried(envelope: Envelope, event: Event) -> bool:
    return envelope.carries is None or envelope.carries(event)


@examples(150)
@given(documents)
def test_canonical_json_can_be_read_back_as_what_mongodb_sent(document: dict[str, Any]) -> None:
    """All of it, to the bit, unless a document has keys that Extended JSON gives a meaning to."""
    assume(not any(key.startswith("$") for key in keys_of(document)))
    event = make_event(value=bson.decode(bson.encode(document), LENIENT))
    written = Format.model_validate({"json": "canonical"}).envelope("mess").encode(event).decode()
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
    assert bson.encode(json_util.loads(written, json_options=options)) == bson.encode(event.change)


@examples(150)
@given(documents)
def test_debeziums_json_can_be_read_back_as_what_mongodb_sent(document: dict[str, Any]) -> None:
    """To the bit but for the sign and the payload of a NaN, unless a document has keys that JSON gives a meaning to."""
    assume(not any(key.startswith("$") for key in keys_of(document)))
    event = make_event(value=1)
    event.body = {**event.change, "fullDocument": bson.decode(bson.encode(document), LENIENT)}
    envelope = Format.model_validate({"format": "debezium"}).envelope("mess")
    written = json.loads(envelope.encode(event))["after"]
    options = JSONOptions(json_mode=JSONMode.LEGACY, datetime_conversion=DatetimeConversion.DATETIME_MS)
    read = bson.encode(json_util.loads(written, json_options=options))
    assert strict(bson.decode(read, LENIENT)) == written
    if "NaN" not in written:
        assert read == bson.encode(event.body["fullDocument"])


def keys_of(value: Any) -> list[str]:
    """The keys at every depth; those that Extended JSON itself writes for a reference or for code's scope are among
    them, where it cannot tell them from a document's own."""
    if isinstance(value, DBRef):
        return ["$ref"]
    if isinstance(value, Code):
        return keys_of(dict(value.scope or {}))
    if isinstance(value, dict):
        return [*value, *(key for inner in value.values() for key in keys_of(inner))]
    return [key for inner in value for key in keys_of(inner)] if isinstance(value, list) else []


@examples(150)
@given(events)
def test_an_event_has_a_line_in_every_order_and_the_same_one_when_it_is_read_again(event: Event) -> None:
    again = Event(bson.decode(bson.encode(event.change), LENIENT), event.namespace)
    for order in ("document", "collection"):
        assert ordering_key(event, order) == ordering_key(again, order)
    ordering_key(event, "none")


@examples(150)
@given(ids)
def test_equal_ids_share_a_line(value: Any) -> None:
    """As MongoDB sends an id, however often it is decoded; also where Python holds it for unequal to itself."""
    raw = bson.encode({"_id": value})
    one, other = (bson.decode(raw, LENIENT) for _ in range(2))
    assert id_hash(one) == id_hash(other)


@examples(100)
@given(events, st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(PATHS)), max_size=2), st.sampled_from(PATHS))
async def test_steps_before_the_sink_pass_or_refuse_it(event: Event, fields: Any, drop: str) -> None:
    """And what field-map makes of it can be written, too; what MongoDB sent stays as it was."""
    sent = bson.encode(event.change)
    field_map = FieldMapConfig.model_validate(
        {
            "fields": {**dict(fields), "t": {"template": "{fullDocument}{documentKey._id}"}},
            "keep": "all",
            "drop": [drop],
        }
    ).build(Context())
    whole = FilterConfig(when="event['fullDocument'] != 1 && event.all(key, event[key] != 1)").build(Context())
    part = FilterConfig(when="event.?fullDocument.?a.hasValue() || event.documentKey._id != 1").build(Context())
    for step in (whole, part):
        await only_refuses(step, [event])
    for step in (LogConfig().build(Context()), LogConfig(fields=tuple(PATHS)).build(Context()), field_map):
        assert await only_refuses(step, [event])
    for envelope in ENVELOPES:
        if carried(envelope, event):
            strictly(envelope.encode(event))
    assert bson.encode(event.change) == sent


async def only_refuses(step: Step, events: Sequence[Event]) -> bool:
    """Put events through a step; whether they passed. Raises what would be more than the events' own trouble."""
    try:
        await step.process(events)
    except BatchError as failed:
        others = [error for error in failed.errors.values() if not isinstance(error, Refused)]
        if others:
            raise others[0] from failed
    except Refused:
        pass
    else:
        return True
    return False


@examples(150)
@given(events, st.none() | st.sampled_from([{1, 2}, "\ud800", 10**400, object]))
def test_a_dead_letter_of_it_can_be_kept_and_gives_back_the_event(event: Event, odd: Any) -> None:
    if odd is not None:
        event.body = {"odd": odd, **event.body}
    now = datetime.now(timezone.utc)
    letter = DeadLetter(
        id=event.id,
        pipeline="p",
        step="s",
        namespace=event.namespace,
        operation=event.operation,
        key=event.key,
        reason="r",
        error="Refused",
        attempts=1,
        time=now,
        event=event.change,
        body=event.body,
    )
    packed = pack(letter)
    again = unpack(packed.head, packed.chunks)
    assert bson.encode(again.event) == bson.encode(event.change)
    assert again.body is not None


@examples(150)
@given(st.lists(events, min_size=1, max_size=3), choices, templates, templates | st.none(), templates)
async def test_the_queue_step_makes_a_message_of_it_or_refuses_it(
    given: list[Event], chosen: tuple[dict[str, str], Envelope], target: str, key: str | None, header: str
) -> None:
    choice, envelope = chosen
    given = [event for event in given if carried(envelope, event)]
    assume(given)
    config = QueueConfig.model_validate(
        {"url": "redis://h", "target": target, "key": key, "headers": {"x": header}, **choice}
    )
    broker = Recorded()
    if await only_refuses(Queue(config, envelope, broker), given):
        assert sorted(message.id for message in broker.messages) == sorted(event.id for event in given)
        for message in broker.messages:
            assert isinstance(message.target, str)
            assert message.key is None or isinstance(message.key, bytes)
            assert [name for name, _ in message.headers if name != "mess-document"] == ["content-type", "x"]
            strictly(message.body)


@examples(60)
@given(st.lists(events, min_size=1, max_size=3), choices, st.booleans())
async def test_the_http_step_delivers_it_whole(
    receiver: Receiver, given: list[Event], chosen: tuple[dict[str, str], Envelope], batch: bool
) -> None:
    choice, envelope = chosen
    given = [event for event in given if carried(envelope, event)]
    assume(given)
    config: dict[str, Any] = {"endpoint": receiver.url, **choice, "batch": {} if batch else None}
    step = HttpConfig.model_validate(config).build(Context())
    await step.open()
    receiver.requests.clear()
    for start in range(0, len(given), step.max_events):
        await step.process(given[start : start + step.max_events])
    await step.close()
    assert len(receiver.requests) == (1 if batch else len(given))
    for request in receiver.requests:
        strictly(request.body)
    for event in given:
        assert any(event.encode(envelope.encode) in request.body for request in receiver.requests)
