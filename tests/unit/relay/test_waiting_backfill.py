"""What a backfill says of itself while nothing of it arrives."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest
from bson import Timestamp

from mess.capture.existing_documents import Chunk, ExistingDocuments
from mess.event import Namespace, Position
from mess.relay import backfill_job
from mess.relay.backfill_job import BackfillJob
from mess.state.backfills import Backfill

AT = Timestamp(100, 1)


class OneChunk(ExistingDocuments):
    """Documents without a MongoDB."""

    def __init__(self) -> None:
        pass

    async def read(self, at: Timestamp, after: bytes | None, most: int, max_bytes: int) -> Chunk:
        return Chunk((), (), last=b"", count=5, size=100)


def job() -> BackfillJob:
    record = Backfill("bf_a", Namespace("shop", "orders"), "operator", datetime.now(timezone.utc))
    return BackfillJob(record, OneChunk(), since=lambda: AT, changed=lambda: None, count=lambda _: None)


async def test_a_backfill_that_waits_says_for_what() -> None:
    waiting = job()
    assert (waiting.progress.state, waiting.progress.reason) == ("waiting", "waiting for the next place in its stream")
    waiting.wait_for_turn("bf_b")
    assert waiting.progress.reason == "its stream sends one after another; first bf_b"
    waiting.has_turn()
    assert (waiting.progress.state, waiting.progress.reason) == ("waiting", "waiting for the next place in its stream")


async def test_a_backfill_with_documents_in_flight_runs_after_a_pause() -> None:
    """They wait for a sink, and not for the stream."""
    running = job()
    placed = await running.read(AT)
    assert placed is not None
    assert placed(Position(None, AT)) is not None
    running.paused = True
    running.wait_for("paused by the operator")
    running.paused = False
    running.resume()
    assert (running.progress.state, running.progress.reason) == ("running", None)


async def test_a_backfill_whose_documents_wait_for_a_step_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    running = job()
    placed = await running.read(AT)
    assert placed is not None
    chunk = placed(Position(None, AT))
    running.notice_sinks()
    assert running.progress.reason is None
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    running.notice_sinks()
    assert (running.progress.state, running.progress.reason) == ("running", backfill_job._SINKS)
    assert chunk is not None
    assert chunk.reached is not None
    chunk.reached()
    assert running.progress.reason is None
