"""Live tails, where an event is, and trying one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mess.admin.api.models.base import Input, Model, Separated, _separated
from mess.admin.api.models.overview import Wait

TailOutcome = Literal["delivered", "dropped", "dead_letter", "skipped"]


class TailQuery(Input):
    """Selects events of a live tail; those that match everything given."""

    pipeline: str | None = None
    step: str | None = None
    """A step that the event came to."""
    namespace: Annotated[str, Field(max_length=500)] | None = None
    """A database, or database.collection; globs are allowed."""
    operation: Separated | None = None
    """Such as `insert`; several are separated by commas."""
    id: Separated | None = None
    """Ids of events, separated by commas."""
    outcome: Annotated[tuple[TailOutcome, ...], BeforeValidator(_separated)] | None = None
    """What became of the event; several are separated by commas."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of the events to show."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """End after so many events."""
    bodies: bool = False
    """Whether to show documents: the change, and the body after each step that changed it."""


class TailStep(Model):
    """What happened to an event at a step."""

    step: str
    result: Literal["passed", "delivered", "dropped", "bypassed", "failed", "dead_letter", "skipped"]
    seconds: float | None
    """The time that the step took for the event's mini-batch; null if the event bypassed it."""
    time: datetime | None
    error: str | None
    body: Any = None
    """The body after the step; absent if the step did not change it."""
    body_cut: bool = False
    """Whether the body is larger than 64 KiB, and only a part is shown."""


class TailEvent(Model):
    """An event that is finished, in a live tail: the data of a message `change`. A message `lost` has the data
    `{"count": n}`: how many events were not shown since the last one, because they were not in the sample, came too
    fast, or the client is too slow."""

    id: str
    time: datetime
    """When it was finished."""
    committed: datetime | None
    """When the change was committed."""
    namespace: str
    operation: str
    key: Any = None
    """The document's key, in relaxed Extended JSON; absent if documents are hidden."""
    key_cut: bool = False
    stream: str | None
    pipeline: str
    outcome: TailOutcome
    ended_at: str | None
    """The step that it did not pass; null if it passed all."""
    replay: bool
    backfill: str
    """The id of the backfill that asked for the document; empty for changes."""
    attempts: int
    """How many attempts the step took that took most."""
    steps: list[TailStep]
    """The steps in order. If the event was selected late, only those from then on."""
    change: Any = None
    """The change event as MongoDB sent it, in relaxed Extended JSON; absent without `bodies`."""
    change_cut: bool = False


class EventPlace(Model):
    """Where an event is."""

    id: str
    state: Literal["waiting", "retrying", "delivered", "dropped", "dead_letter", "skipped", "not_seen"]
    text: str
    """All of it in a sentence."""
    namespace: str | None
    pipeline: str | None
    step: str | None
    """The step that it waits for, or at which it was given up."""
    since: datetime | None
    """When it failed first, was finished, or was given up."""
    wait: Wait | None
    """Why its step, or its stream, waits."""


class TryRequest(Model):
    """An event to put through a pipeline without sending anything."""

    event: dict[str, Any]
    """A change event in Extended JSON, or `{"namespace": "shop.orders", "document": {…}}` for an insert."""
    pipeline: str | None = None
    """By default, the pipeline of its namespace."""


class TriedStep(Model):
    step: str
    result: Literal["passed", "would_send", "dropped", "failed", "bypassed"]
    body: Any
    """The body after the step; for a sink, what it would send."""
    destination: str | None
    headers: dict[str, str] | None
    error: str | None


class Tried(Model):
    pipeline: str
    steps: list[TriedStep]
