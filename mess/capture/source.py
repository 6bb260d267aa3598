"""The interface of event sources: batches of events, and what else a batch reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mess.event import Event, Position, event_id


class PlacedEvent(Event):
    """An event that is no change of its stream; `place` is the stream's position where it belongs."""

    __slots__ = ("place",)

    place: Position


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A change that cannot be read: its event exceeds the maximum size of a reply, or cannot be decoded.

    `id` is the event's, `change` as much of it as is known (its fields are as they should be), and `position` is after
    it.
    """

    position: Position
    reason: str
    id: str
    change: Mapping[str, Any]

    @classmethod
    def at(cls, position: Position, reason: str) -> Unreadable:
        """A change of a change stream, of which only the resume token is known."""
        token = position.token or {}
        return cls(position, reason, id=event_id(token), change={"_id": token})


@dataclass(frozen=True, slots=True)
class LostHistory:
    """Changes between two positions that were removed before they could be read. `first`, `last` and `count` are those
    of the gap, if they are known."""

    since: Position
    until: Position
    reason: str
    first: str | None = None
    last: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one read: events in stream order, and the position after the last one.

    `unreadable` and `lost` must be recorded before the position. `reached` is called as soon as everything up to the
    position is done.
    """

    events: Sequence[Event]
    position: Position
    unreadable: tuple[Unreadable, ...] = ()
    lost: LostHistory | None = None
    reached: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class StoppedSource:
    """A placeholder for a stream that is not read."""

    name: str
    problem: str | None


class Connection(Protocol):
    """A stream's connection, for status reports."""

    @property
    def name(self) -> str:
        """The stream's name in logs and metrics."""

    @property
    def problem(self) -> str | None:
        """Why it is not connected at present; None if it is."""


class Source(Connection, Protocol):
    """A sequence of events that can be read on from a position, such as a change stream."""

    @property
    def connected(self) -> asyncio.Event:
        """Set while it is connected."""

    @property
    def position(self) -> Position:
        """Where reading continues: after the last batch returned by `read`."""

    async def read(self) -> Batch | None:
        """The next batch, empty if nothing happened for a while; None at the end, for a stream that has one.

        Handles temporary failures itself, retrying forever. Raises SourceError for permanent ones.
        """

    def position_after(self, event: Event) -> Position:
        """Where reading continues after one of its events."""

    async def close(self) -> None:
        """Close the cursor."""
