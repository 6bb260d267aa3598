"""Backfills, gaps and checkpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from mess.admin.api.models.base import Input, Model


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
