"""Stores how far each stream is done: as rarely as is safe, and never past an unfinished event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Protocol

from mess.errors import StateError
from mess.event import Position
from mess.leadership import ALWAYS, LAPSED, Leadership
from mess.relay.window import Window
from mess.state.backfills import BackfillProgress
from mess.state.store import Checkpoint, StateStore


@dataclass(slots=True, eq=False)
class Progress:
    """A stream's window, and what has been stored of its progress.

    `saved_at` is in seconds of the monotonic clock.
    """

    stream: str
    plan: str
    window: Window
    saved: Position | None = None
    saved_at: float = field(default_factory=time.monotonic)
    finished: int = 0

    def due(self, now: float, idle_interval: float) -> bool:
        """Whether the stream has moved far enough for a new checkpoint."""
        position = self.window.position
        if position is None or position == self.saved:
            return False
        # A checkpoint that is written to the watched deployment moves an idle stream, and must not trigger the next
        # checkpoint.
        return self.window.finished != self.finished or now - self.saved_at >= idle_interval


class Moving(Protocol):
    """The backfills, whose progress is stored with that of the streams."""

    def moved(self) -> Mapping[str, BackfillProgress]:
        """Progress that is not stored yet, by the backfill's id."""

    def stored(self, progress: Mapping[str, BackfillProgress]) -> None:
        """This progress has been stored."""


class Checkpointer:
    """Stores the progress of all streams and backfills, each time in one write; nothing while the process may not
    deliver according to `leadership`."""

    def __init__(
        self,
        store: StateStore,
        streams: Sequence[Progress],
        backfills: Moving,
        *,
        interval: float,
        idle_interval: float,
        leadership: Leadership = ALWAYS,
    ) -> None:
        self._leadership = leadership
        self._store = store
        self._backfills = backfills
        self._streams = streams
        self.interval = interval
        self.idle_interval = idle_interval
        self._saving_since: float | None = None
        self._failure: str | None = None

    @property
    def problem(self) -> str | None:
        """Why progress is not being stored at present; None if it is, or if there is none."""
        if self._leadership.lapsed:
            return f"progress is not stored: {LAPSED}"
        if self._failure is not None:
            return self._failure
        since = self._saving_since
        if since is None or (seconds := time.monotonic() - since) < max(1.0, self.interval):
            return None
        return f"progress could not be stored for {seconds:.0f} s; the store does not confirm the write"

    async def run(self) -> None:
        """Store what has moved, at every interval, forever. Raises StateError."""
        while True:
            await asyncio.sleep(self.interval)
            await self.save(self.idle_interval)

    async def save(self, idle_interval: float = 0.0) -> None:
        """Store what has moved. Raises StateError if that fails, Superseded if another relay has taken over."""
        # The store accepts no position of a process that was replaced, but gaps of what it skipped.
        if self._leadership.lapsed:
            return
        now = time.monotonic()
        moved = [stream for stream in self._streams if stream.due(now, idle_interval)]
        checkpoints: list[Checkpoint] = []
        finished = [stream.window.finished for stream in moved]
        for stream in moved:
            if position := stream.window.position:
                updated = datetime.now(timezone.utc)
                checkpoints.append(
                    Checkpoint(stream=stream.stream, plan=stream.plan, position=position, updated=updated)
                )
        # Positions were taken before: what is done of a backfill is never ahead of them.
        backfills = self._backfills.moved()
        if not checkpoints and not backfills and not self._store.has_deferred_gaps:
            return
        self._saving_since = now
        try:
            await self._store.save(checkpoints, backfills)
        except StateError as error:
            self._failure = str(error)
            raise
        finally:
            self._saving_since = None
        self._failure = None
        self._backfills.stored(backfills)
        for stream, checkpoint, count in zip(moved, checkpoints, finished, strict=True):
            stream.saved, stream.saved_at, stream.finished = checkpoint.position, time.monotonic(), count
