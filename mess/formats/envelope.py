"""The form of a sink's messages, and the options that select it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mess.event import Encoder, Event
from mess.formats import bson_json, cloudevents, debezium
from mess.formats.template import document_key
from mess.ids import hashed_id

Join = Callable[[Sequence[str], Sequence[bytes]], tuple[str, bytes]]
"""Joins the ids and bodies of several events; returns the batch's id and body."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Turns events into message bodies.

    `encode` encodes one event; `join` combines several bodies into one. The two media types belong to their results.
    `key` is what a broker partitions by, None for an event that concerns no document. `carries` returns whether an
    event has a body in this format; None if every event has.
    """

    encode: Encoder
    join: Join
    content_type: str = "application/json"
    batch_content_type: str = "application/json"
    key: Callable[[Event], str | None] = document_key
    carries: Callable[[Event], bool] | None = None


def _source(value: str) -> str:
    text = value.replace("{db}", "").replace("{collection}", "")
    if re.search(r"\{[^{}]*\}", text):
        raise ValueError("only {db} and {collection} are allowed here; remove other placeholders")
    # The characters allowed in a URI reference (RFC 3986, 2).
    if not value or not re.fullmatch(r"(?:[\w.~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", text, re.ASCII):
        raise ValueError("not a URI reference; write it like /mongodb/{db}/{collection} or https://shop.example.com")
    return value


def _type_prefix(value: str) -> str:
    if not re.fullmatch(r"[\w.-]*", value, re.ASCII):
        raise ValueError("must contain only letters, digits and . _ -, as in com.example")
    return value


class CloudEvents(BaseModel):
    """CloudEvents source and type."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: Annotated[str, AfterValidator(_source)] = "/mongodb/{db}/{collection}"
    """The attribute `source`, a URI reference; `{db}` and `{collection}` stand for the event's, percent-encoded."""
    type_prefix: Annotated[str, AfterValidator(_type_prefix)] = ""
    """A prefix for the attribute `type`, often your domain in reverse: `com.example` turns `mongodb.insert` into
    `com.example.mongodb.insert`."""


class Debezium(BaseModel):
    """Debezium source."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str | None = Field(None, min_length=1)
    """`source.name`, which is `topic.prefix` in Debezium's own config. Default: the relay's name."""


class Format(BaseModel):
    """The options that select what a sink sends; a base class of the sinks' options."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal["event", "cloudevents", "debezium"] = "event"
    """What is sent: `event` is the body after the previous steps, `cloudevents` is a CloudEvent (1.0, structured) with
    that body as its data, `debezium` is what Debezium's MongoDB connector writes."""
    json_: Literal["plain", "relaxed", "canonical"] = Field("plain", alias="json")
    """How BSON is written: as simple JSON, or as MongoDB Extended JSON v2 (`relaxed`, `canonical`), which preserves the
    types."""
    cloudevents: CloudEvents | None = None
    """CloudEvents source and type."""

    debezium: Debezium | None = None
    """Debezium source."""

    @field_validator("json_")
    @classmethod
    def _not_for_debezium(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("format") == "debezium":
            raise ValueError("format: debezium has its own Extended JSON; remove this option")
        return value

    @field_validator("cloudevents", "debezium")
    @classmethod
    def _only_for_its_format(cls, value: BaseModel | None, info: ValidationInfo) -> BaseModel | None:
        if value is not None and info.data.get("format") not in (info.field_name, None):
            raise ValueError(f"has no effect without format: {info.field_name}; set that, or remove this")
        return value

    def envelope(self, relay: str) -> Envelope:
        """The envelope for these options, in the relay with this name. Equal options give the same object, so that an
        event that goes to several sinks is encoded once."""
        if self.format == "cloudevents":
            return _cloudevents(self.json_, self.cloudevents or CloudEvents())
        if self.format == "debezium":
            return _debezium((self.debezium and self.debezium.name) or relay)
        return _EVENTS[self.json_]


def event(event: Event) -> bytes:
    """`format: event`: the event's body as plain JSON."""
    return bson_json.plain(event.body)


def batch(ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join events into one JSON body, `{"id": …, "events": [{"id": …, "body": …}, …]}`. Returns the batch's id and the
    body.

    The id depends only on the members and their order.
    """
    identity = hashed_id("\n".join(ids))
    members = b",".join([b'{"id":"%b","body":%b}' % pair for pair in zip(map(str.encode, ids), bodies, strict=True)])
    return identity, b'{"id":"%b","events":[%b]}' % (identity.encode(), members)


_EVENTS = {
    "plain": Envelope(event, batch),
    "relaxed": Envelope(lambda event: bson_json.relaxed(event.body), batch),
    "canonical": Envelope(lambda event: bson_json.canonical(event.body), batch),
}
_WRITERS = {"plain": bson_json.plain, "relaxed": bson_json.relaxed, "canonical": bson_json.canonical}


@cache
def _cloudevents(json: str, options: CloudEvents) -> Envelope:
    encode = cloudevents.encoder(_WRITERS[json], options.source, options.type_prefix)
    return Envelope(encode, cloudevents.join, cloudevents.CONTENT_TYPE, cloudevents.BATCH_CONTENT_TYPE)


@cache
def _debezium(name: str) -> Envelope:
    return Envelope(debezium.encoder(name), batch, key=debezium.key, carries=debezium.carries)
