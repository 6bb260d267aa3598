"""What the relay reads from: batches of events, and what a batch may have to report besides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mess.event import Event, Position


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A change that MongoDB cannot hand out, because its event is larger than a reply may be."""

    position: Position
    reason: str


@dataclass(frozen=True, slots=True)
class LostHistory:
    """Changes between two positions were gone from the oplog before they could be read."""

    since: Position
    until: Position
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave: events in stream order, and the position behind the last of them.

    `unreadable` and `lost` are to be recorded before the position is.
    """

    events: Sequence[Event]
    position: Position
    unreadable: tuple[Unreadable, ...] = ()
    lost: LostHistory | None = None


@dataclass(frozen=True, slots=True)
class StoppedSource:
    """Stands for a stream that is not read."""

    name: str
    problem: str | None


class Connection(Protocol):
    """A stream, as its state is reported."""

    @property
    def name(self) -> str:
        """What logs and metrics call it."""

    @property
    def problem(self) -> str | None:
        """Why it is not connected at present; None while it is."""


class Source(Connection, Protocol):
    """One change stream."""

    @property
    def connected(self) -> asyncio.Event:
        """Set while it is connected."""

    @property
    def position(self) -> Position:
        """Where it goes on reading: behind the batch that `read` gave last."""

    async def read(self) -> Batch | None:
        """The next batch, empty when nothing happened for a while; None at the end, where the stream is to have one.

        Passing troubles are its own affair: it tries again for ever. Raises SourceError for what cannot pass.
        """

    async def close(self) -> None:
        """Let go of the cursor."""
