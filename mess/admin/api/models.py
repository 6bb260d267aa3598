"""What the admin API answers and accepts. The OpenAPI document comes from these models."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mess.config.effective import EffectiveValue
from mess.state.records import storable


class Model(BaseModel):
    """Attribute docstrings become the descriptions in the OpenAPI document."""

    # Built when first used: a relay starts sooner.
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True, defer_build=True)


def _storable(value: Any) -> Any:
    """Refuse texts that no state store can look for: with NULs, or half of a surrogate pair."""
    texts = value.values() if isinstance(value, dict) else ()
    if any(isinstance(text, str) and text != storable(text) for text in texts):
        raise ValueError("contains a character that no name has")
    return value


class Input(Model):
    """What clients send."""

    _checked = model_validator(mode="before")(_storable)


class Error(Model):
    """Why a request was not carried out, and how to fix it."""

    error: str


class OldestEvent(Model):
    """The oldest event that waits."""

    id: str
    namespace: str
    age_seconds: float | None
    """Time since the change was committed; null if unknown."""


class Wait(Model):
    """Why something waits."""

    cause: str
    """What it waits for, in a few words."""
    since: datetime | None
    """Since when, if known."""
    events: int
    """How many events wait for it."""
    oldest: OldestEvent | None
    next_attempt_seconds: float | None
    """Time until the next attempt; null if there is none, or if it depends on others."""
    remedy: str | None
    """What would help."""
    text: str
    """All of this in a sentence."""


class Pause(Model):
    """A pause that an operator asked for. It survives restarts."""

    since: datetime
    by: str
    """Who asked for it: a user and host, or the address of an API client."""
    reason: str | None
    """The reason given, if any."""


class Stream(Model):
    """A change stream."""

    name: str
    state: Literal["reading", "disconnected", "blocked", "paused", "stopped"]
    problem: str | None
    """Why it is not connected, or why it stopped."""
    watches: list[str]
    """The databases and collections that it reads, as named in the config (globs included); empty for all."""
    pipelines: list[str]
    """The pipelines that its events take."""
    read: int
    """How many events it has read since the start."""
    lag_seconds: float | None
    window_events: int
    """Events in flight."""
    window_max_events: int
    window_bytes: int
    """Bytes of BSON in flight."""
    window_max_bytes: int
    checkpoint_age_seconds: float | None
    """Time since its position was last stored."""
    oplog_headroom_seconds: float | None
    """How far its position is ahead of MongoDB's oldest oplog entry; null if unknown, or while the oplog has room, so
    that nothing is lost yet."""
    pause: Pause | None
    wait: Wait | None
    """Why it does not make progress although events are there; null if it does."""


class Step(Model):
    """A step of a pipeline. The counts are since the start."""

    name: str
    kind: str
    """The kind of step, such as `http`, `filter`, or the name of a plugin."""
    about: str
    """What it does, in a few words, without secrets."""
    sink: bool
    """Whether it delivers outside of the relay."""
    state: Literal["up", "down", "paused"]
    delivered: int
    dropped: int
    """Events that the step dropped on purpose, or that bypassed it because they are not for it."""
    failed: int
    """Events in failed attempts."""
    retried: int
    dead_letters: int
    attempts: int
    """How many times it was called."""
    seconds: float
    """The time that all calls together took."""
    pause: Pause | None
    wait: Wait | None


class Streams(Model):
    streams: list[Stream]


class Pipeline(Model):
    """An ordered list of steps."""

    name: str
    """The name of its scope in the config; empty for the top level."""
    state: Literal["flowing", "waiting", "paused"]
    streams: list[str]
    done: int
    """Events that went through all steps since the start."""
    waiting_events: int
    """Events that are read and not finished."""
    steps: list[Step]
    pause: Pause | None
    wait: Wait | None
    """Why its oldest event waits; null if events flow."""


class Pipelines(Model):
    pipelines: list[Pipeline]


class Instance(Model):
    """The process that answers."""

    id: str
    host: str
    pid: int


class Access(Model):
    """What the client that asks may do. `why` says why not, and how to get access."""

    documents: bool
    """Whether it may see documents and the config."""
    changes: bool
    """Whether it may change something."""
    payloads: bool
    """False if the config hides all documents (`admin: {payloads: off}`)."""
    why: str | None


class Reload(Model):
    """The result of a reload of the config."""

    time: datetime
    ok: bool
    text: list[str]
    """What was replaced, what takes effect later, or what is wrong; one sentence each."""


class Status(Model):
    """The relay at a glance."""

    time: datetime
    """When this was true. Rates follow from the counts of two answers."""
    name: str
    version: str
    instance: Instance
    uptime_seconds: float
    ready: bool
    problems: list[str]
    """Why it is not ready."""
    warnings: list[str]
    """What needs attention although it is ready."""
    done: int
    """Events that went through all steps since the start."""
    access: Access
    streams: list[Stream]
    pipelines: list[Pipeline]
    oplog_seconds: float | None
    """How far back MongoDB's oplog reaches; null if unknown, or while it still has room."""
    dead_letters: int | None
    """How many are stored; null if unknown. Counted every ten seconds."""
    gaps: int
    backfills: int
    """Backfills that have not ended."""
    last_reload: Reload | None


class Target(Input):
    """What is paused or resumed: a stream, a pipeline, or one step of a pipeline."""

    stream: str | None = None
    pipeline: str | None = None
    step: str | None = None
    """A step's name; together with its pipeline's."""


class PauseRequest(Target):
    reason: Annotated[str, Field(max_length=500)] | None = None
    """Why, for whoever sees it later."""


class Paused(Model):
    """A pause and what it applies to."""

    target: Target
    pause: Pause
    applies: bool
    """False if the config names no such stream, pipeline or step any more."""


class Pauses(Model):
    pauses: list[Paused]


class Backfill(Model):
    """A request to send the existing documents of a collection, and its progress."""

    id: str
    namespace: str
    origin: str
    """`operator`, `initial` (the config), or the id of the gap that it repairs."""
    state: Literal["waiting", "running", "paused", "done", "cancelled", "failed"]
    reason: str | None
    """Why it waits, failed or was cancelled, and what resumes it."""
    documents: int
    estimated: int | None
    created: datetime
    started: datetime | None
    updated: datetime | None
    ended: datetime | None
    step: str | None
    pipeline: str | None
    rate: float | None


class BackfillQuery(Model):
    """Which backfills."""

    all: bool = False
    """Also those that have ended."""


class Backfills(Model):
    backfills: list[Backfill]


class BackfillWish(Input):
    wanted: Literal["running", "paused", "cancelled"]


class Gap(Model):
    """Changes that were not delivered."""

    id: str
    kind: Literal["history_lost", "unreadable", "skipped", "reset"]
    stream: str
    pipeline: str | None
    step: str | None
    namespaces: list[str]
    since: datetime | None
    until: datetime | None
    open: bool
    """Whether the stream waits for a decision."""
    count: int | None
    reason: str
    time: datetime


class Gaps(Model):
    gaps: list[Gap]


class Checkpoint(Model):
    """The stored position of a stream: everything before it is done."""

    stream: str
    time: datetime | None
    """The cluster time of the position."""
    updated: datetime
    behind_seconds: float | None
    """How far the position is behind MongoDB's time."""


class Checkpoints(Model):
    checkpoints: list[Checkpoint]


def _separated(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _written(value: Any) -> Any:
    # Pydantic also takes numbers as times.
    if value is not None and not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("must be an ISO 8601 time")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC") from None


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
Moment = Annotated[datetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""A time in ISO 8601."""


class LetterFilter(Input):
    """Selects dead letters; those that match everything given. Times are ISO 8601."""

    pipeline: str | None = None
    step: str | None = None
    namespace: str | None = None
    """A database, or database.collection; globs are allowed."""
    reason: str | None = None
    """A part of the reason, in any case."""
    since: Moment | None = None
    """Given up since."""
    until: Moment | None = None
    ids: Annotated[tuple[str, ...], Field(max_length=1000)] | None = None


class Letter(Model):
    """A dead letter: an event that was given up on."""

    id: str
    pipeline: str
    step: str
    namespace: str
    operation: str
    key: Any
    """The document's key, in relaxed Extended JSON; null if documents are hidden."""
    reason: str
    error: str
    attempts: int
    time: datetime


class Letters(Model):
    """Dead letters, newest first."""

    letters: list[Letter]
    total: int
    """How many match."""
    next: str | None
    """Pass this as `after` to get the next page; null on the last."""


class Attempt(Model):
    """A failed attempt."""

    time: datetime
    error: str
    reason: str
    status: int | None
    response: str | None


class WholeLetter(Letter):
    """A dead letter with its event."""

    event: Any
    """The change event as MongoDB sent it, in relaxed Extended JSON."""
    body: Any
    """What the step was given, after the steps before it."""
    history: list[Attempt]
    size: int
    """Bytes of BSON."""
    complete: bool
    """False if event and body are too large to be shown here, or hidden; `mess dead-letters export` writes them."""
    backfill: str


class LetterQuery(LetterFilter):
    """Selects a page of dead letters."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    ids: Annotated[tuple[str, ...], BeforeValidator(_separated), Field(max_length=1000)] | None = None
    """Separated by commas."""
    after: str | None = None
    """`next` of the previous page."""


class LetterAction(Model):
    """Replays or discards dead letters. `filter` may be empty only with `all`."""

    filter: LetterFilter = LetterFilter()
    all: bool = False
    dry_run: bool = False
    """Only count the letters."""
    expected: int | None = None
    """Refuse (409) if another number matches than was confirmed."""


class LetterResult(Model):
    """What was done, or would be."""

    matching: int
    by_pipeline: dict[str, int]
    """How many of them would go through which pipeline."""
    done: int
    """How many were discarded; 0 for a replay, which goes on in the background."""
    replay: str | None
    """The id of the replay that has begun."""


Separated = Annotated[tuple[str, ...], BeforeValidator(_separated), Field(max_length=100)]
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


class Replay(Model):
    """A replay of dead letters that runs, or ran since the relay started."""

    id: str
    state: Literal["running", "done", "failed", "stopped"]
    started: datetime
    ended: datetime | None
    total: int
    handled: int
    delivered: int
    kept: int
    """Letters that stay, with the reasons in `reasons`."""
    reasons: dict[str, int]


class Replays(Model):
    replays: list[Replay]


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


class EffectiveConfig(Model):
    """Every value of the config that applies, without secrets."""

    file: str
    values: list[EffectiveValue]
