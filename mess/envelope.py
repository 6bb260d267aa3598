"""What a sink's body looks like, and the options by which users choose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mess import codec
from mess.event import Encoder, Event, hashed_id

Join = Callable[[Sequence[str], Sequence[bytes]], tuple[str, bytes]]
"""Makes one body of several events' ids and bodies; returns the batch's id and its body."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """How events become bodies.

    `encode` writes one event, `join` several into one body. The two media types are of what they give.
    """

    encode: Encoder
    join: Join
    content_type: str = "application/json"
    batch_content_type: str = "application/json"


class Format(BaseModel):
    """The options that choose what a sink sends; a base of the sinks' options."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Literal["event"] = "event"
    """What a body holds: the event's body as the steps before have left it."""

    def envelope(self) -> Envelope:
        """The envelope that the options ask for; the same object for the same options, so that an event that goes to
        several sinks is written once."""
        return _EVENT


def event(event: Event) -> bytes:
    """`format: event`: the event's body as plain JSON."""
    return codec.plain(event.body)


def batch(ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Several events as one JSON body, `{"id": …, "events": [{"id": …, "body": …}, …]}`, and its id.

    A batch's id is the same for the same members in the same order.
    """
    identity = hashed_id("\n".join(ids))
    members = b",".join([b'{"id":"%b","body":%b}' % pair for pair in zip(map(str.encode, ids), bodies, strict=True)])
    return identity, b'{"id":"%b","events":[%b]}' % (identity.encode(), members)


_EVENT = Envelope(event, batch)
