"""The extension point for formats: to write one, derive from `FormatOptions`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mess.event import Encoder, Event
from mess.formats.template import document_key
from mess.ids import hashed_id
from mess.options.base import Options

Join = Callable[[Sequence[str], Sequence[bytes]], tuple[str, bytes]]
"""Joins the ids and bodies of several events; returns the batch's id and body."""
Write = Callable[[Any], bytes]
"""Writes BSON values as JSON."""


def batch(ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join events into one JSON body, `{"id": …, "events": [{"id": …, "body": …}, …]}`. Returns the batch's id and the
    body.

    The id depends only on the members and their order.
    """
    identity = hashed_id("\n".join(ids))
    members = b",".join([b'{"id":"%b","body":%b}' % pair for pair in zip(map(str.encode, ids), bodies, strict=True)])
    return identity, b'{"id":"%b","events":[%b]}' % (identity.encode(), members)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Turns events into message bodies.

    `encode` encodes one event; `join` combines several bodies into one. The two media types belong to their results.
    `key` is what a broker partitions by, None for an event that concerns no document. `carries` returns whether an
    event has a body in this format; None if every event has.
    """

    encode: Encoder
    join: Join = batch
    content_type: str = "application/json"
    batch_content_type: str = "application/json"
    key: Callable[[Event], str | None] = document_key
    carries: Callable[[Event], bool] | None = None


class FormatOptions(Options):
    """Base class of a format's own options. Its docstring and its field descriptions are their documentation."""

    own_json: ClassVar[bool] = False
    """Whether the format writes BSON in its own way, so that the option `json` has no effect."""

    @abstractmethod
    def envelope(self, write: Write, relay: str) -> Envelope:
        """The envelope for these options. `write` writes BSON as the option `json` says; `relay` is the relay's
        name."""
        raise TypeError(f"{type(self).__name__} does not define envelope")
