"""`format: bson`: the event's body as BSON, as MongoDB itself writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from mess.event import Event
from mess.formats.base import Envelope, FormatOptions, Write, batch_id

CONTENT_TYPE = "application/bson"
_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


class BsonBody(FormatOptions):
    """The event's body as BSON."""

    own_json: ClassVar[bool] = True

    def envelope(self, write: Write, relay: str) -> Envelope:
        """See `FormatOptions`."""
        return Envelope(encode, join, CONTENT_TYPE, batch_content_type=CONTENT_TYPE)


def encode(event: Event) -> bytes:
    """The body as BSON. Raises errors of many kinds for a body that a step has built of what BSON cannot hold."""
    return bson.encode(event.body, codec_options=_OPTIONS)


def join(events: Sequence[Event], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join events into one BSON document with the fields of a batch in JSON. Returns the batch's id and the
    document."""
    identity = batch_id(events)
    members = [_member(event, body) for event, body in zip(events, bodies, strict=True)]
    return identity, bson.encode({"id": identity, "events": members})


def _member(event: Event, body: bytes) -> dict[str, Any]:
    member: dict[str, Any] = {"id": event.id, "body": RawBSONDocument(body)}
    if document := event.document:
        member["document"] = document
    if event.backfill:
        member["backfill"] = event.backfill
    return member
