"""Records changes that a stream could not deliver."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Protocol

from mess.capture.plan import StreamPlan
from mess.capture.source import Batch, Unreadable
from mess.event import Namespace
from mess.state.store import DeadLetter, Gap
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")


class Keeper(Protocol):
    """Stores events that were not delivered; for example a `StateStore`."""

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Store these dead letters. Raises StateError."""

    async def record_gap(self, gap: Gap) -> None:
        """Store a gap. Raises StateError."""


async def record(batch: Batch, stream: StreamPlan, keeper: Keeper) -> None:
    """Record what a batch could not deliver, before the position after it is stored."""
    now = datetime.now(timezone.utc)
    letters = [_letter(unreadable, stream, now) for unreadable in batch.unreadable]
    if letters:
        await keeper.add_dead_letters(letters)
        for letter in letters:
            log.error(
                "change cannot be read, kept as a dead letter", stream=stream.name, id=letter.id, error=letter.reason
            )
    if batch.lost is not None:
        since, until = batch.lost.since.time, batch.lost.until.time
        await keeper.record_gap(Gap(stream=stream.name, since=since, until=until, reason=batch.lost.reason, time=now))


def _letter(unreadable: Unreadable, stream: StreamPlan, now: datetime) -> DeadLetter:
    change = unreadable.change
    ns = change.get("ns", {"db": stream.database or "", "coll": ""})
    return DeadLetter(
        id=unreadable.id,
        pipeline="",
        step="capture",
        namespace=Namespace(ns["db"], ns["coll"]),
        operation=change.get("operationType", ""),
        key=change.get("documentKey"),
        reason=unreadable.reason,
        error="SourceError",
        attempts=1,
        time=now,
        event=dict(change),
        body=None,
    )
