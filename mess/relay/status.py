"""The relay's status, for the admin server and the metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import mess
from mess.capture.clock import ServerClock
from mess.capture.source import Connection, StoppedSource
from mess.leadership import Leadership
from mess.relay.backfill_job import BackfillJob
from mess.relay.backfills import Backfills
from mess.relay.blocked import blocked
from mess.relay.checkpointer import Progress
from mess.relay.gap_status import by_kind, summary
from mess.relay.ha.lapse import lapse
from mess.relay.ha.role import Role
from mess.relay.ha.role_status import group_summary, role_summary, standing_by
from mess.relay.headroom import OplogWatch
from mess.relay.kafka.group import KafkaGroup
from mess.relay.pauses import Pauses
from mess.relay.reload_result import ReloadResult
from mess.relay.runner import StreamRunner
from mess.relay.step_runner import StepRunner
from mess.relay.waits import LONG, Place, Wait, Waits, waits
from mess.state.instance import Instance
from mess.state.store import Gap, StateStore
from mess.telemetry.metrics import Metrics
from mess.telemetry.snapshot import StreamStatus

_NAMED = 3  # streams with the same problem


class Saving(Protocol):
    """Stores a relay's progress."""

    @property
    def problem(self) -> str | None:
        """Why progress is not being stored at present; None if it is, or if there is none."""


class Parts(Protocol):
    """The parts of a relay that the status describes."""

    instance: Instance
    metrics: Metrics
    store: StateStore | None
    starting: str | None
    clock: ServerClock

    @property
    def role(self) -> Role | None:
        """Its role among the processes with its name; None without `ha`."""

    @property
    def leadership(self) -> Leadership | None:
        """Whether it may deliver; None before that is known."""

    @property
    def group(self) -> KafkaGroup | None:
        """Its consumer group; None if its source is not Kafka."""

    @property
    def step_runners(self) -> Sequence[StepRunner]:
        """The runners of its steps."""

    @property
    def checkpointer(self) -> Saving | None:
        """What stores its progress."""

    @property
    def oplog(self) -> OplogWatch | None:
        """What watches MongoDB's oplog."""

    @property
    def backfills(self) -> Backfills | None:
        """What follows its backfills."""

    @property
    def pauses(self) -> Pauses | None:
        """What follows operators' pauses."""

    @property
    def last_reload(self) -> ReloadResult | None:
        """The outcome of the last reload."""

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams that have begun."""

    @property
    def progress(self) -> Sequence[Progress]:
        """How far each stream has been processed."""

    @property
    def sources(self) -> Sequence[Connection]:
        """The source of each stream, in the order of `progress`."""

    @property
    def name(self) -> str:
        """The relay's name."""


class RelayStatus:
    """Implements `mess.admin.view.View`. Without `documents`, it leaves out what may repeat parts of documents: their
    keys, and what sinks and functions said."""

    def __init__(self, relay: Parts, *, documents: bool = True) -> None:
        self._relay = relay
        self._documents = documents
        self._began = time.monotonic()

    @property
    def discreet(self) -> RelayStatus:
        """The same without what may repeat parts of documents."""
        if not self._documents:
            return self
        found = RelayStatus(self._relay, documents=False)
        found._began = self._began
        return found

    @property
    def changed(self) -> int:
        """How many events have finished every step since the start."""
        return self._relay.metrics.changed

    @property
    def uptime(self) -> float:
        """For how many seconds it has been running."""
        return round(time.monotonic() - self._began, 1)

    def streams(self) -> list[StreamStatus]:
        """The status of each stream."""
        relay = self._relay
        pairs = zip(relay.sources, relay.progress, strict=True)
        return [stream_status(source, progress, relay.clock.now(), relay.oplog) for source, progress in pairs]

    def gaps(self) -> list[Gap]:
        """The gaps, oldest first, as far as they are known without waiting."""
        return [] if self._relay.store is None else self._relay.store.known_gaps

    def gaps_by_kind(self) -> dict[str, int]:
        """How many gaps there are of each kind."""
        return by_kind(self.gaps())

    def role(self) -> dict[str, Any] | None:
        """Its role, as JSON; None without `ha`."""
        return role_summary(self._relay.role, self._relay.instance)

    def standby(self) -> str | None:
        """What a standby waits for; None if the relay is none."""
        role = self._relay.role
        return standing_by(role) if role is not None and role.name == "standby" else None

    def problems(self) -> list[str]:
        """Why the relay is not ready: problems of its streams and its state. Empty if it is ready, as a standby is
        that could take over.

        Sinks are not included: a relay whose sink is down works as it should, and a rollout must not wait for it.
        """
        relay = self._relay
        role = relay.role
        if role is not None and role.name == "standby" and role.active is not None:
            return [] if role.problem is None else [role.problem]
        if relay.starting is not None:
            return [relay.starting]
        held = {runner.name for runner in relay.runners if runner.held}
        away = None if relay.group is None or relay.group.member is not None else relay.group.problem
        found = _by_problem(
            stream
            for stream in self.streams()
            if stream.name not in held  # a paused one need not be connected
            and stream.problem != away  # given below
        )
        if relay.checkpointer is not None and (problem := relay.checkpointer.problem) is not None:
            found.append(f"state: {problem}")
        if (wait := self._lapse()) is not None:
            found.append(wait.text(relay.clock.now()))
        if relay.group is not None and relay.group.member is None:
            why = "" if relay.group.problem is None else f": {relay.group.problem}"
            # The client's state is out of date while it cannot reach a broker.
            state = "" if relay.group.problem is not None else f" ({relay.group.state})"
            found.append(f"Kafka: this process is not in the group {relay.group.group} at present{state}{why}")
        return found

    def _lapse(self) -> Wait | None:
        """Why nothing may be delivered at present; None if it may."""
        return lapse(self._relay.leadership, self._relay.role, self._relay.group)

    def sink_problems(self, known: Waits | None = None) -> list[str]:
        """The steps that cannot work at present or are paused, and why. `known` is what `waits` has just returned."""
        now, found = self._relay.clock.now(), (known or self.waits()).steps
        return [
            found[runner.pipeline, runner.name].text(now)
            for runner in self._relay.step_runners
            if runner.trouble is not None or runner.gate.closed
        ]

    def waits(self) -> Waits:
        """Why streams, pipelines and steps wait at present."""
        relay = self._relay
        return waits(relay.runners, relay.step_runners, relay.pauses, lapse=self._lapse(), documents=self._documents)

    def warnings(self, known: Waits | None = None) -> list[str]:
        """What needs attention although the relay is ready, except the sinks. `known` is what `waits` has just
        returned."""
        relay = self._relay
        oplog, backfills, pauses = relay.oplog, relay.backfills, relay.pauses
        found = blocked(relay.runners, documents=self._documents) + ([] if oplog is None else oplog.warnings())
        waits = known or self.waits()
        found += [
            waits.steps[runner.pipeline, runner.name].text(relay.clock.now())
            for runner in relay.step_runners
            if runner.trouble is None and not runner.gate.closed and _is_long(waits.steps, runner)
        ]
        if pauses is not None:
            held = waits.streams
            found += [held[runner.name].text(relay.clock.now()) for runner in relay.runners if runner.held]
            if pauses.problem is not None:
                found.append(f"pauses: {pauses.problem}")
        if backfills is not None and backfills.problem is not None:
            found.append(f"backfills: {backfills.problem}")
        if relay.group is not None and relay.group.member is not None and relay.group.problem is not None:
            found.append(f"Kafka: {relay.group.problem}")
        return found

    def status(self) -> dict[str, Any]:
        """The complete status."""
        relay = self._relay
        return {
            "name": relay.name,
            "version": mess.__version__,
            "instance": {"id": relay.instance.id, "host": relay.instance.host, "pid": relay.instance.pid},
            "uptime_seconds": self.uptime,
            "role": self.role(),
            "group": group_summary(relay.group),
            "changed": self.changed,
            "ready": not self.problems(),
            "problems": self.problems(),
            "warnings": [*self.sink_problems(), *self.warnings()],
            "gaps": summary(self.gaps(), documents=self._documents),
            "last_reload": None if relay.last_reload is None else relay.last_reload.as_json(),
            "streams": [
                {
                    "name": stream.name,
                    "connected": stream.connected,
                    "problem": stream.problem,
                    "stopped": stream.stopped,
                    "lag_seconds": stream.lag,
                    "window_events": stream.window_events,
                    "window_bytes": stream.window_bytes,
                    "checkpoint_age_seconds": stream.checkpoint_age,
                    "oplog_headroom_seconds": stream.headroom,
                }
                for stream in self.streams()
            ],
            "backfills": [] if relay.backfills is None else [_backfill(job) for job in relay.backfills.jobs],
            "steps": [
                {"pipeline": runner.pipeline, "step": runner.name, "trouble": self._trouble(runner)}
                for runner in self._relay.step_runners
            ],
        }

    def _trouble(self, runner: StepRunner) -> str | None:
        trouble, obstacle = runner.trouble, runner.obstacle
        if self._documents or trouble is None or obstacle is None or obstacle.brief is None:
            return trouble
        return obstacle.brief

    def metrics(self) -> bytes:
        """The metrics, in Prometheus's text format."""
        return self._relay.metrics.render()


def _by_problem(streams: Iterable[StreamStatus]) -> list[str]:
    """The problems of streams, each once: all partitions of a topic usually have the same."""
    affected: dict[str, list[str]] = {}
    for stream in streams:
        if stream.problem is not None:
            affected.setdefault(stream.problem, []).append(stream.name)
    return [f"{_named(names)}: {problem}" for problem, names in affected.items()]


def _named(streams: Sequence[str]) -> str:
    if len(streams) == 1:
        return f"stream {streams[0]}"
    more = f" and {len(streams) - _NAMED} more" if len(streams) > _NAMED else ""
    return f"streams {', '.join(streams[:_NAMED])}{more}"


def _is_long(steps: Mapping[Place, Wait], runner: StepRunner) -> bool:
    """Whether events have waited long for a step that works for others."""
    wait = steps.get((runner.pipeline, runner.name))
    return wait is not None and wait.lasted(LONG)


def _backfill(job: BackfillJob) -> dict[str, Any]:
    progress = job.progress
    return {
        "id": job.record.id,
        "namespace": str(job.record.namespace),
        "state": progress.state,
        "reason": progress.reason,
        "documents": progress.documents,
        "estimated": progress.estimated,
    }


def stream_status(source: Connection, progress: Progress, now: float, oplog: OplogWatch | None) -> StreamStatus:
    """The status of a stream at the server's time `now`, in seconds since 1970."""
    window = progress.window
    position = window.position or progress.saved
    # A position may be a tick ahead of now: after everything that has been committed.
    lag = None if position is None or position.time is None else max(0.0, now - position.time.time)
    return StreamStatus(
        name=source.name,
        connected=source.problem is None,
        problem=source.problem,
        lag=lag,
        window_events=len(window),
        window_bytes=window.bytes,
        checkpoint_age=time.monotonic() - progress.saved_at,
        headroom=None if oplog is None else oplog.headroom(progress),
        stopped=isinstance(source, StoppedSource),
    )
