"""The relay's state for one scrape of its metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from mess import leadership
from mess.relay import status
from mess.relay.stored_counts import StoredCounts
from mess.relay.waiting import waiting
from mess.telemetry.snapshot import KafkaStatus, LeaseStatus, Snapshot, StepStatus


class Parts(status.Parts, Protocol):
    """The parts of a relay that the metrics read."""

    status: status.RelayStatus

    @property
    def stored(self) -> StoredCounts | None:
        """How much its state holds."""


def snapshot(relay: Parts) -> Snapshot:
    """The state of a relay; never waits."""
    runners = relay.step_runners
    oplog, stored = relay.oplog, relay.stored
    names = dict.fromkeys(runner.pipeline for runner in runners)
    places = dict.fromkeys(((runner.pipeline, runner.name) for runner in runners), 0)
    held = {runner.name for runner in relay.runners if runner.held}
    letters = None if stored is None else stored.dead_letters
    return Snapshot(
        ready=not relay.status.problems(),
        streams=[replace(stream, paused=stream.name in held) for stream in relay.status.streams()],
        pipelines=waiting(names, relay.runners, relay.clock.now()),
        steps=[
            StepStatus(runner.pipeline, runner.name, runner.trouble is None, paused=runner.gate.closed)
            for runner in runners
        ],
        gaps=relay.status.gaps_by_kind(),
        backfills=None if stored is None else stored.backfills,
        dead_letters=None if letters is None else {**places, **letters},
        oplog_window=None if oplog is None else oplog.window,
        lease=_lease(relay),
        kafka=_kafka(relay),
    )


def _lease(relay: Parts) -> LeaseStatus | None:
    role, permission = relay.role, relay.leadership
    if role is None:
        return None
    if role.name == "standby":
        return LeaseStatus(relay.name, active=False, epoch=None, left=None)
    left = None if permission is None else permission.until - leadership.now()
    # One that could not renew it delivers nothing, and another may be active.
    return LeaseStatus(relay.name, active=left is None or left > 0, epoch=role.epoch, left=left)


def _kafka(relay: Parts) -> KafkaStatus | None:
    group = relay.group
    if group is None:
        return None
    return KafkaStatus(
        group=group.group,
        lags={(each.topic, str(each.partition)): each.lag for each in group.assigned},
        members=group.members,
        rebalances=group.rebalances,
        heartbeat_age=group.heartbeat_age,
    )
