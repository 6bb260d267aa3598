"""Replays of dead letters inside a running relay, one at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Literal

from mess.admin.api import models
from mess.cancellation import cancel
from mess.config.load import Loaded
from mess.errors import ConfigError, MessError
from mess.leadership import Leadership
from mess.replay.dead_letters import Replayer
from mess.replay.letter_results import Report
from mess.replay.letters import replayer_for
from mess.replay.routes import Kept
from mess.state.letters import DamagedLetter
from mess.state.records import Pointer
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_REMEMBERED = 20


class _Job:
    def __init__(self, total: int) -> None:
        self.id = f"replay_{secrets.token_hex(4)}"
        self.started = datetime.now(timezone.utc)
        self.ended: datetime | None = None
        self.total = total
        self.handled = 0
        self.report: Report | None = None
        self.error: str | None = None
        self.interrupted = False

    def advance(self, count: int) -> None:
        self.handled += count

    @property
    def shown(self) -> models.Replay:
        report = self.report
        reasons = Counter[str]()
        if report is not None:
            reasons.update(report.kept)
            reasons.update({f"pipeline {name!r}: {reason}": left for name, (reason, left) in report.down.items()})
            if report.failed:
                reasons[report.first_failure or "failed again"] += report.failed
            if report.changed:
                reasons["deleted or given up again by others meanwhile"] += report.changed
        if self.error is not None:
            reasons[self.error] += 1
        delivered = 0 if report is None else report.delivered
        state: Literal["running", "done", "failed", "stopped"] = "running"
        if self.ended is not None:
            state = "failed" if self.error is not None else "stopped" if self.interrupted else "done"
        return models.Replay(
            id=self.id,
            state=state,
            started=self.started,
            ended=self.ended,
            total=self.total,
            handled=self.handled,
            delivered=delivered,
            kept=0 if self.ended is None else self.total - delivered,
            reasons=dict(reasons),
        )


class LetterReplays:
    """See `mess.admin.api.relay.LetterReplays`. `loaded` returns the config in force, which pipelines are built
    from. Deliveries obey `leadership`, that of the relay."""

    def __init__(self, loaded: Callable[[], Loaded], store: StateStore, leadership: Leadership) -> None:
        self._loaded = loaded
        self._store = store
        self._leadership = leadership
        self._jobs: deque[_Job] = deque(maxlen=_REMEMBERED)
        self._replayer: Replayer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def all(self) -> list[models.Replay]:
        """Those that run, and the last ones that ran, newest first."""
        return [job.shown for job in self._jobs]

    @property
    def running(self) -> bool:
        """Whether one is running."""
        return self._task is not None and not self._task.done()

    async def ways(self, pointers: Sequence[Pointer]) -> Mapping[str, int]:
        """How many of these letters would go through which pipeline; see the protocol."""
        replayer = replayer_for(self._loaded(), self._store)
        found = Counter[str]()
        for pointer in pointers:
            try:
                found[(await replayer.way(pointer)).pipeline] += 1
            except (Kept, DamagedLetter):
                found[""] += 1
        return found

    def start(self, pointers: Sequence[Pointer]) -> str:
        """Begin to replay these; the replay's id. Raises ConfigError if one is running, or if the config's steps cannot
        be built."""
        if self.running:
            raise ConfigError("a replay is running; wait until it has ended")
        self._replayer = replayer_for(self._loaded(), self._store, leadership=self._leadership)
        job = _Job(len(pointers))
        self._jobs.appendleft(job)
        self._task = asyncio.create_task(self._run(job, self._replayer, pointers))
        return job.id

    async def close(self, grace: float) -> None:
        """End the one that runs: deliveries in flight get `grace` seconds."""
        if self._task is None or self._replayer is None:
            return
        self._replayer.stop()
        _, late = await asyncio.wait({self._task}, timeout=grace)
        await cancel(*late)

    async def _run(self, job: _Job, replayer: Replayer, pointers: Sequence[Pointer]) -> None:
        try:
            job.report = await replayer.run(pointers, job.advance)
            job.interrupted = replayer.stopping
        except MessError as error:
            job.error = str(error)
        except Exception as error:
            job.error = f"{type(error).__name__}; see the relay's log"
            log.exception("a replay has failed")
        finally:
            job.ended = datetime.now(timezone.utc)
            shown = job.shown
            log.info("replay of dead letters ended", id=job.id, delivered=shown.delivered, total=job.total)
