"""Resume tokens: what change streams, and nobody else, know about their positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Timestamp

from mess.event import Event, Position, token_time


def position_of(token: Mapping[str, Any], time: Timestamp | None = None) -> Position:
    """The position of a resume token.

    If the token does not say its cluster time, as on servers that only emulate MongoDB's protocol, `time` is used if it
    is one.
    """
    return Position(token, token_time(token, time))


def position_after(event: Event) -> Position:
    """Where to resume reading after an event of a change stream."""
    return position_of(event.change["_id"], event.change.get("clusterTime"))


def has_passed(position: Position, other: Position) -> bool:
    """Whether every change up to `other` has been read by anyone who has read up to `position`.

    Resume tokens sort like the changes, and so do offsets of one partition. Of cluster times, only a strictly later one
    proves it, since several changes may share one.
    """
    if position.token is not None and other.token is not None and "offset" in position.token:
        return bool(position.token["offset"] >= other.token.get("offset", 0))
    own, others = (None if each.token is None else each.token.get("_data") for each in (position, other))
    if isinstance(own, str) and isinstance(others, str) and own[:2] == others[:2] == "82":
        return own >= others
    return position.time is not None and other.time is not None and position.time > other.time
