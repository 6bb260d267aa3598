"""What a sink's body looks like."""

from __future__ import annotations

from collections.abc import Sequence

from mess import codec
from mess.event import Event, hashed_id


def event(event: Event) -> bytes:
    """`format: event`: the event's body as plain JSON."""
    return codec.plain(event.body)


def batch_id(events: Sequence[Event]) -> str:
    """A batch's own id: the same for the same members in the same order."""
    return hashed_id("\n".join([event.id for event in events]))


def batch(identity: str, events: Sequence[Event], bodies: Sequence[bytes]) -> bytes:
    """Several events as one JSON body: `{"id": …, "events": [{"id": …, "body": …}, …]}`."""
    members = b",".join(
        [
            b'{"id":"' + event.id.encode() + b'","body":' + body + b"}"
            for event, body in zip(events, bodies, strict=True)
        ]
    )
    return b'{"id":"' + identity.encode() + b'","events":[' + members + b"]}"
