"""What is kept: checkpoints, dead letters, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import Timestamp

from mess.event import Namespace, Position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stored position of a stream: everything up to it is done.

    `stream` is the stream's name, `plan` a hash of how it was read, `selection` what it selects (JSON types only) and
    `updated` when this was stored.
    """

    stream: str
    plan: str
    selection: dict[str, Any]
    position: Position
    updated: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that failed.

    `time` is when it ended, to the millisecond, `error` the name of the error's class and `reason` what the step said.
    `status` and `response` (its first KiB) are the sink's answer, None where it gave none.
    """

    time: datetime
    error: str
    reason: str
    status: int | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up on, stored with its reason.

    `id` is the event's. `reason` is what the step said and `error` the name of the error's class. `attempts` counts the
    deliveries tried. `time` is when it was first given up on, to the millisecond. `event` is the change event as
    MongoDB sent it and `body` what the step was given; both are empty ({} and None) in listings. `history` holds the
    last ten attempts, oldest first; it is empty in listings.
    """

    id: str
    pipeline: str
    step: str
    namespace: Namespace
    operation: str
    key: Any
    reason: str
    error: str
    attempts: int
    time: datetime
    event: dict[str, Any]
    body: Any
    history: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes that the relay has never seen, of one stream, between two cluster times; None where an end is unknown."""

    stream: str
    since: Timestamp | None
    until: Timestamp | None
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing of dead letters asks for; None for everything. See `StateStore.dead_letters`."""

    pipeline: str | None = None
    step: str | None = None
    namespace: Namespace | None = None
    since: datetime | None = None
