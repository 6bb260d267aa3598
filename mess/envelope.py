"""What a sink's body looks like."""

from __future__ import annotations

from collections.abc import Sequence

from mess import codec
from mess.event import Event, hashed_id


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
