"""The relay at a glance: its streams, pipelines and steps."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

import mess
from mess.admin.api import models
from mess.admin.api.layout import layout
from mess.admin.api.operation import Call
from mess.admin.api.pausing import pause_shown
from mess.admin.api.relay import ApiRelay
from mess.admin.api.settings import shown_reload
from mess.relay.ha.role_status import group_summary, role_summary
from mess.relay.status import RelayStatus, stream_status
from mess.relay.step_runner import StepRunner
from mess.relay.waits import Wait, Waiting, Waits
from mess.steps.base import Sink


async def status(call: Call) -> models.Status:
    """Everything on one screen."""
    return overview(call.relay, access(call), call.status)


async def streams(call: Call) -> models.Streams:
    """The change streams."""
    return models.Streams(streams=_streams(call.relay, call.status.waits()))


async def all_pipelines(call: Call) -> models.Pipelines:
    """The pipelines with their steps."""
    return models.Pipelines(pipelines=_pipelines(call.relay, call.status.waits()))


def access(call: Call) -> models.Access:
    """What the client may do."""
    grant = call.grant
    return models.Access(
        documents=grant.private and call.payloads, changes=grant.private, payloads=call.payloads, why=grant.why
    )


def overview(relay: ApiRelay, access: models.Access, status: RelayStatus) -> models.Status:
    """The relay at a glance, for a client with this access."""
    waits = status.waits()
    instance, problems = relay.instance, status.problems()
    return models.Status(
        time=datetime.now(timezone.utc),
        name=relay.name,
        version=mess.__version__,
        instance=models.Instance(id=instance.id, host=instance.host, pid=instance.pid),
        role=models.Role.model_validate(role_summary(relay.role, instance)) if relay.role is not None else None,
        group=models.KafkaGroup.model_validate(group_summary(relay.group)) if relay.group is not None else None,
        uptime_seconds=status.uptime,
        ready=not problems,
        problems=problems,
        warnings=[*status.sink_problems(waits), *status.warnings(waits)],
        done=status.changed,
        access=access,
        streams=_streams(relay, waits),
        pipelines=_pipelines(relay, waits),
        oplog_seconds=None if relay.oplog is None else relay.oplog.window,
        dead_letters=None if relay.stored is None else relay.stored.letters,
        gaps=len(status.gaps()),
        backfills=0 if relay.backfills is None else len(relay.backfills.jobs),
        last_reload=None if relay.last_reload is None else shown_reload(relay.last_reload),
    )


def _streams(relay: ApiRelay, waits: Waits) -> list[models.Stream]:
    now, pauses = relay.clock.now(), relay.pauses
    known, worker = layout(relay), relay.group is not None
    held = {runner.name for runner in relay.runners if runner.held}
    found: list[models.Stream] = []
    for source, progress in zip(relay.sources, relay.progress, strict=True):
        name = progress.stream
        shown = stream_status(source, progress, now, relay.oplog)
        wait, window = waits.streams.get(name), progress.window
        found.append(
            models.Stream(
                name=name,
                state=_state(shown.stopped, shown.connected, held=name in held, waits=wait is not None),
                problem=shown.problem,
                watches=list(known.watches.get(name, ())),
                # A partition has events of any collection.
                pipelines=list(known.steps if worker else known.pipelines.get(name, ())),
                read=relay.metrics.read_from(name),
                lag_seconds=shown.lag,
                window_events=shown.window_events,
                window_max_events=window.max_events,
                window_bytes=shown.window_bytes,
                window_max_bytes=window.max_bytes,
                checkpoint_age_seconds=shown.checkpoint_age,
                oplog_headroom_seconds=None if relay.oplog is None or relay.oplog.window is None else shown.headroom,
                pause=pause_shown(None if pauses is None else pauses.of_stream(name)),
                wait=wait_shown(wait, now),
            )
        )
    return found


def _state(
    stopped: bool, connected: bool, *, held: bool, waits: bool
) -> Literal["reading", "disconnected", "blocked", "paused", "stopped"]:
    if stopped:
        return "stopped"
    if held:
        return "paused"
    if not connected:
        return "disconnected"
    return "blocked" if waits else "reading"


def _pipelines(relay: ApiRelay, waits: Waits) -> list[models.Pipeline]:
    known, now, pauses = layout(relay), relay.clock.now(), relay.pauses
    partitions = None if relay.group is None else [each.stream for each in relay.progress]
    runners: dict[str, list[StepRunner]] = {}
    for runner in relay.step_runners:
        runners.setdefault(runner.pipeline, []).append(runner)
    found: list[models.Pipeline] = []
    for name, steps in runners.items():
        wait = waits.pipelines.get(name)
        pause = None if pauses is None else pauses.of_pipeline(name)
        counts = [waits.events.get((name, step.name), Waiting()).events for step in steps]
        found.append(
            models.Pipeline(
                name=name,
                state="paused" if pause is not None else "waiting" if wait is not None else "flowing",
                streams=list(known.streams.get(name, ())) if partitions is None else partitions,
                done=relay.metrics.done_in(name),
                waiting_events=sum(counts),
                steps=[
                    _step(relay, step, waits, kind=kind, about=about)
                    for step, (kind, about) in zip(steps, known.steps.get(name, ()), strict=False)
                ],
                pause=pause_shown(pause),
                wait=wait_shown(wait, now),
            )
        )
    return found


def _step(relay: ApiRelay, runner: StepRunner, waits: Waits, *, kind: str, about: str) -> models.Step:
    counts = relay.metrics.step_counts(runner.pipeline, runner.name)
    return models.Step(
        name=runner.name,
        kind=kind,
        about=about,
        sink=isinstance(runner.step, Sink),
        state="paused" if runner.gate.closed else "down" if runner.trouble is not None else "up",
        delivered=counts.delivered,
        dropped=counts.dropped + counts.bypassed,
        failed=counts.failed,
        retried=counts.retried,
        dead_letters=counts.dead_letters,
        attempts=counts.attempts,
        seconds=counts.seconds,
        pause=pause_shown(None if relay.pauses is None else relay.pauses.of_step(runner.pipeline, runner.name)),
        wait=wait_shown(waits.steps.get((runner.pipeline, runner.name)), relay.clock.now()),
    )


def wait_shown(wait: Wait | None, now: float) -> models.Wait | None:
    """Why something waits; `now` is the server's time in seconds since 1970."""
    if wait is None:
        return None
    oldest = wait.oldest
    return models.Wait(
        cause=wait.cause,
        since=wait.since,
        events=wait.events,
        oldest=None
        if oldest is None
        else models.OldestEvent(id=oldest.id, namespace=str(oldest.namespace), age_seconds=wait.age(now)),
        next_attempt_seconds=wait.next_attempt,
        remedy=wait.remedy,
        text=wait.text(now),
    )
