"""Dead letters and their replays."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mess.admin.api.models.base import Input, Model, Moment, _separated


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
