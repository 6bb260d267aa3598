"""The extension point for formats: to write one, derive from `FormatOptions`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from mess.event import Document, Encoder, Event
from mess.formats.template import document_key
from mess.ids import hashed_id
from mess.options.base import Options

Join = Callable[[Sequence[Event], Sequence[bytes]], tuple[str, bytes]]
"""Joins several events, given their bodies too; returns the batch's id and body."""
Write = Callable[[Any], bytes]
"""Writes BSON values as JSON."""


_DOCUMENT: dict[Document | None, bytes] = {
    None: b"",
    "exact": b',"document":"exact"',
    "lookup": b',"document":"lookup"',
    "missing": b',"document":"missing"',
}


def batch(events: Sequence[Event], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join events into one JSON body, `{"id": …, "events": [{"id": …, "body": …, "document": …, "backfill": …}, …]}`.
    Returns the batch's id and the body.

    The id depends only on the members and their order. Members lack `document` and `backfill` if the event does.
    """
    identity = batch_id(events)
    members = b",".join(
        [
            b'{"id":"%b","body":%b%b%b}' % (event.id.encode(), body, _DOCUMENT[event.document], _backfill(event))
            for event, body in zip(events, bodies, strict=True)
        ]
    )
    return identity, b'{"id":"%b","events":[%b]}' % (identity.encode(), members)


def batch_id(events: Sequence[Event]) -> str:
    """A batch's id, which depends only on its members and their order."""
    return hashed_id("\n".join([event.id for event in events]))


def _backfill(event: Event) -> bytes:
    return b',"backfill":%b' % orjson.dumps(event.backfill) if event.backfill else b""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Turns events into message bodies.

    `encode` encodes one event; `join` combines several bodies into one. The two media types belong to their results.
    `key` is what a broker partitions by, None for an event that concerns no document. `carries` returns whether an
    event has a body in this format; None if every event has. `varying` names the top-level fields of an encoded event
    that depend on when it is encoded.
    """

    encode: Encoder
    join: Join = batch
    content_type: str = "application/json"
    batch_content_type: str = "application/json"
    key: Callable[[Event], str | None] = document_key
    carries: Callable[[Event], bool] | None = None
    varying: tuple[str, ...] = ()


class FormatOptions(Options):
    """Base class of a format's own options. Its docstring and its field descriptions are their documentation."""

    own_json: ClassVar[bool] = False
    """Whether the format writes BSON in its own way, so that the option `json` has no effect."""

    @abstractmethod
    def envelope(self, write: Write, relay: str) -> Envelope:
        """The envelope for these options. `write` writes BSON as the option `json` says; `relay` is the relay's
        name."""
        raise TypeError(f"{type(self).__name__} does not define envelope")
