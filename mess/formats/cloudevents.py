"""CloudEvents 1.0.2 in structured mode: an event's attributes and its body in one JSON object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Annotated
from urllib.parse import quote

import orjson
from bson import Timestamp
from pydantic import AfterValidator

from mess.event import GAP, Encoder, Event, Namespace
from mess.formats.base import Envelope, FormatOptions, Write, batch_id
from mess.formats.template import written

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json; charset=UTF-8"

# Control characters, and Unicode's noncharacters: no attribute may contain them.
_NONCHARACTERS = "".join(chr(plane | last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")


_PART = r"(?:[\w.~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
# RFC 3986, 4.1. Brackets are for IPv6 addresses; without a scheme, the first segment has no colon.
_URI_REFERENCE = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))(?://\[[0-9A-Fa-f:.]+\])?{_PART}(?:#{_PART})?", re.ASCII
)


def _source(value: str) -> str:
    text = value.replace("{db}", "%20").replace("{collection}", "%20")  # as a name may look in it
    if re.search(r"\{[^{}]*\}", text):
        raise ValueError("only {db} and {collection} are allowed here; remove other placeholders")
    if not value or not _URI_REFERENCE.fullmatch(text):
        raise ValueError("not a URI reference; write it like /mongodb/{db}/{collection} or https://shop.example.com")
    return value


def _type_prefix(value: str) -> str:
    if not re.fullmatch(r"[\w.-]*", value, re.ASCII):
        raise ValueError("must contain only letters, digits and . _ -, as in com.example")
    return value


class CloudEvents(FormatOptions):
    """CloudEvents source and type."""

    source: Annotated[str, AfterValidator(_source)] = "/mongodb/{db}/{collection}"
    """The attribute `source`, a URI reference; `{db}` and `{collection}` stand for the event's, percent-encoded."""
    type_prefix: Annotated[str, AfterValidator(_type_prefix)] = ""
    """A prefix for the attribute `type`, often your domain in reverse: `com.example` turns `mongodb.insert` into
    `com.example.mongodb.insert`."""

    def envelope(self, write: Write, relay: str) -> Envelope:
        """See `FormatOptions`."""
        return Envelope(
            encode=encoder(write, self.source, self.type_prefix),
            join=join,
            content_type=CONTENT_TYPE,
            batch_content_type=BATCH_CONTENT_TYPE,
        )


def encoder(write: Write, source: str, type_prefix: str) -> Encoder:
    """Return a function that encodes an event as a CloudEvent, with its body encoded by `write`.

    `source` is a URI reference in which `{db}` and `{collection}` stand for the event's; `type_prefix` is put before
    `mongodb.insert`.
    """
    prefix = f"{type_prefix.rstrip('.')}." if type_prefix else ""
    mongodb, gap = f"{prefix}mongodb.", prefix + GAP

    @lru_cache(maxsize=1024)
    def source_of(namespace: Namespace) -> str:
        text = source.replace("{db}", quote(namespace.db, safe=""))
        text = text.replace("{collection}", quote(namespace.coll, safe=""))
        return text if namespace.coll else text.rstrip("/") or "/"

    def encode(event: Event) -> bytes:
        context = {
            "specversion": "1.0",
            "id": event.id,
            "source": source_of(event.namespace),
            "type": gap if event.operation == GAP else mongodb + event.operation,
        }
        if subject := _subject(event):
            context["subject"] = subject
        if time := _time(event):
            context["time"] = time
        # Extension attributes, whose names are lower-case letters and digits.
        if document := event.document:
            context["messdocument"] = document
        if event.backfill:
            context["messbackfill"] = event.backfill
        context["datacontenttype"] = "application/json"
        return b'%b,"data":%b}' % (orjson.dumps(context)[:-1], write(event.body))

    return encode


def join(events: Sequence[Event], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join CloudEvents into one batch, a JSON array. Returns the batch's id, which depends only on the members and
    their order, and its body."""
    return batch_id(events), b"[%b]" % b",".join(bodies)


def _subject(event: Event) -> str:
    """The document's `_id` as text; empty for an event that concerns no document."""
    text = "" if event.key is None else written(event.key.get("_id"))
    return text if text.isprintable() else _FORBIDDEN.sub(lambda found: quote(found[0]), text)


def _time(event: Event) -> str:
    """The time of the change by MongoDB's clock; empty if unknown."""
    moment = event.change.get("wallTime")
    if not isinstance(moment, datetime):
        logical = event.change.get("clusterTime")
        if not isinstance(logical, Timestamp):
            return ""
        moment = datetime.fromtimestamp(logical.time, timezone.utc)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
