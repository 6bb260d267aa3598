"""The records of the state: checkpoints, dead letters, gaps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Self, get_args

from bson import Timestamp

from mess.errors import DamagedState, DeliveryError
from mess.event import Namespace, Position

HISTORY = 10
"""How many attempts a dead letter stores."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stored position of a stream: everything before it is done.

    `stream` is the stream's name, `plan` a hash of how it was read, and `updated` when this was stored.
    """

    stream: str
    plan: str
    position: Position
    updated: datetime

    def fields(self) -> dict[str, Any]:
        """What the stores keep of it, by name. `token`, `time` and `updated` are of types that BSON has; other fields
        are text or numbers, which SQLite has too, or None."""
        token = None if self.position.token is None else dict(self.position.token)
        return {
            "stream": self.stream,
            "plan": self.plan,
            "token": token,
            "time": self.position.time,
            "updated": self.updated,
        }

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `fields`. One that an earlier MESS did not store is missing or None.

        Raises KeyError for a missing field, TypeError or ValueError for a wrong one.
        """
        return cls(
            stream=checked(fields, "stream", str),
            plan=checked(fields, "plan", str),
            position=_position(fields),
            updated=checked(fields, "updated", datetime),
        )


@dataclass(frozen=True, slots=True)
class LegacyCheckpoint:
    """A checkpoint of MESS 0.1; `selection` is the stored description of the stream's namespaces (JSON types only)."""

    stream: str
    plan: str
    selection: dict[str, Any]
    position: Position

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The checkpoint with these fields, of which `selection` is in JSON. Raises as `Checkpoint.of_fields` does."""
        selection = json.loads(checked(fields, "selection", str))
        if not isinstance(selection, dict):
            raise TypeError("the field selection does not contain an object")
        stream, plan = checked(fields, "stream", str), checked(fields, "plan", str)
        return cls(stream=stream, plan=plan, selection=selection, position=_position(fields))


@dataclass(frozen=True, slots=True)
class Positions:
    """The stored progress of a relay.

    `coverage` is the coverage map as written by `mess.capture.coverage.to_json`, None if there is none. `checkpoints`
    are those of its streams, by name. `legacy` are those of an earlier MESS 0.1; they are valid only without a map.
    """

    coverage: list[Any] | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    legacy: tuple[LegacyCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt.

    `time` is when it ended, to the millisecond, `error` is the name of the error's class and `reason` is the step's
    message. `status` and `response` (its first KiB) are the sink's answer, None if there was none.
    """

    time: datetime
    error: str
    reason: str
    status: int | None = None
    response: str | None = None

    @classmethod
    def failed(cls, error: DeliveryError) -> Attempt:
        """An attempt that has just failed with `error`."""
        answer = error.response
        return cls(
            time=datetime.now(timezone.utc),
            error=type(error).__name__,
            reason=str(error),
            status=None if answer is None else answer.status,
            response=None if answer is None else answer.body,
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up, stored with the reason.

    `id` is the event's. `reason` is the step's message and `error` the name of the error's class. `attempts` counts the
    deliveries tried. `time` is when it was first given up, to the millisecond. `event` is the change event as MongoDB
    sent it and `body` what the step was given. `history` holds the last ten attempts, oldest first. `version` and
    `size` are set by the store: the version of the letter, and the total size of event and body in bytes of BSON.
    `backfill`, `only` and `looked_up` are the event's.

    In listings, `event`, `body`, `history`, `version` and `size` are empty ({}, None, (), "" and 0), and so are
    `backfill`, `only` and `looked_up`.
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
    backfill: str = ""
    only: str | None = None
    looked_up: bool | None = None
    version: str = field(default="", compare=False, repr=False)
    size: int = field(default=0, compare=False, repr=False)

    @property
    def listed(self) -> Listed:
        """Its place in listings."""
        return Listed(self.time, self.id)


class Listed(NamedTuple):
    """A dead letter's place in listings, which are ordered by time, then by id, the newest first."""

    time: datetime
    id: str


GapKind = Literal["history_lost", "unreadable", "skipped", "reset"]
"""Why changes were not delivered: they had left the oplog, they could not be read, a step skipped them
(`on_failure: skip`), or an operator moved the position past them."""
GAP_KINDS: tuple[GapKind, ...] = get_args(GapKind)

_NEW_IN_GAPS: dict[str, Any] = {
    "namespaces": (),
    "open": False,
    "resume": None,
    "kind": "history_lost",
    "pipeline": None,
    "step": None,
    "count": None,
    "first": None,
    "last": None,
    "unannounced": (),
}


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes that the relay did not deliver: those of one stream's or step's `namespaces` between two cluster times.

    `since` and `until` are None if unknown. While the gap is `open`, the stream waits for a decision and `until` is
    None. `resume` is that decision: the cluster time at which the stream continues. If that time is lost as well, the
    gap stays open. `time` is when the gap was recorded.

    `kind` says what happened. `pipeline` and `step` are those that skipped the changes; then `stream` is empty. `count`
    is how many changes, and `first` and `last` are the ids of their events, all None if unknown. `unannounced` are the
    namespaces whose receivers are still to be told, with `gaps: deliver`.
    """

    stream: str
    since: Timestamp | None
    until: Timestamp | None
    reason: str
    time: datetime
    namespaces: tuple[str, ...] = ()
    open: bool = False
    resume: Timestamp | None = None
    kind: GapKind = "history_lost"
    pipeline: str | None = None
    step: str | None = None
    count: int | None = None
    first: str | None = None
    last: str | None = None
    unannounced: tuple[str, ...] = ()

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The gap with these fields, where lists stand for tuples. Those that MESS 0.1 did not store may be missing.

        Raises KeyError for another missing field, TypeError or ValueError for a wrong one.
        """
        known: dict[str, Any] = {**_NEW_IN_GAPS, **fields}
        if checked(known, "kind", str) not in GAP_KINDS:
            raise ValueError(f"the field kind holds {known['kind']!r}")
        return cls(
            stream=checked(known, "stream", str),
            since=checked(known, "since", Timestamp, type(None)),
            until=checked(known, "until", Timestamp, type(None)),
            reason=checked(known, "reason", str),
            time=checked(known, "time", datetime),
            namespaces=_texts(known, "namespaces"),
            open=bool(checked(known, "open", int)),
            resume=checked(known, "resume", Timestamp, type(None)),
            kind=known["kind"],
            pipeline=checked(known, "pipeline", str, type(None)),
            step=checked(known, "step", str, type(None)),
            count=checked(known, "count", int, type(None)),
            first=checked(known, "first", str, type(None)),
            last=checked(known, "last", str, type(None)),
            unannounced=_texts(known, "unannounced"),
        )

    @property
    def id(self) -> str:
        """The gap's id: the same for the same loss, however often it is found, and for a record that grows."""
        end = "" if self.open or self.until is None else f"{self.until.time}:{self.until.inc}"
        begin = "" if self.since is None else f"{self.since.time}:{self.since.inc}"
        match self.kind:
            case "history_lost":
                # A stream without cluster times may lose several ranges.
                parts = [self.stream, begin, end, *self.namespaces, *filter(None, (self.first, self.last))]
            case "unreadable":
                parts = [self.kind, self.stream, self.reason, self.first or ""]
            case "skipped":
                # After a crash, what is skipped again is another record: it may be only a part.
                recorded = self.time.astimezone(timezone.utc).isoformat(timespec="milliseconds")
                parts = [self.kind, self.pipeline or "", self.step or "", self.reason, self.first or "", recorded]
            case "reset":
                parts = [self.kind, self.stream, begin, *self.namespaces]
        return f"gap_{sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Selects dead letters: those that satisfy everything that is not None.

    `namespace` is a database (including all its collections) or `database.collection`; either part may be a glob.
    `since` and `until` are the oldest and the newest time; naive ones are UTC. `reason` is a part of the letter's
    reason; case is ignored.
    """

    pipeline: str | None = None
    step: str | None = None
    namespace: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    ids: tuple[str, ...] | None = None

    @property
    def everything(self) -> bool:
        """Whether it selects all dead letters."""
        return self == Wanted()

    @property
    def db_and_coll(self) -> tuple[str | None, str | None]:
        """The two parts of `namespace`, None if any will do."""
        if self.namespace is None:
            return None, None
        db, dot, coll = self.namespace.partition(".")
        return db, coll if dot else None


class Pointer(NamedTuple):
    """Identifies a dead letter, the place where it stopped, and what it concerns."""

    id: str
    pipeline: str
    step: str
    namespace: Namespace
    operation: str


def checked(fields: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field's value, which is of one of these types. Raises KeyError, TypeError."""
    value = fields[name]
    if not isinstance(value, kinds):
        raise TypeError(f"the field {name} holds a {type(value).__name__}")
    return value


def storable(text: str) -> str:
    """The text without lone surrogates and NULs, so that every store can hold it."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def damaged(id: str, place: str, error: Exception, remedy: str) -> DamagedState:  # noqa: A002 - the field's name
    """The error for a record that cannot be decoded. `place` names the collection or table; `remedy` says what to do
    without a backup."""
    why = f"the field {error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    return DamagedState(f"the record {id!r} in {place} is damaged: {why}. Restore it from a backup, or {remedy}")


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = checked(fields, name, list, tuple)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"the field {name} holds what is not text")
    return tuple(found)


def _position(fields: Mapping[str, Any]) -> Position:
    token = checked(fields, "token", dict, type(None))
    time = checked(fields, "time", Timestamp, type(None))
    if token is None and time is None:
        raise ValueError("it has neither a token nor a time")
    return Position(token, time)
