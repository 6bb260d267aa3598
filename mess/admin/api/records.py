"""What the state records besides dead letters: backfills, gaps and checkpoints."""

from __future__ import annotations

from datetime import datetime

from bson import Timestamp

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.relay.gap_status import reason
from mess.state.backfills import Backfill, BackfillProgress
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")


async def backfills(call: Call) -> models.Backfills:
    """The backfills, oldest first."""
    found = await call.store.backfills(active=not call.query.all)
    jobs = {} if call.relay.backfills is None else {job.record.id: job for job in call.relay.backfills.jobs}
    # What runs is further on than what is stored.
    return models.Backfills(
        backfills=[_backfill(each, jobs[each.id].progress if each.id in jobs else None) for each in found]
    )


async def want_backfill(call: Call) -> models.Backfill:
    """Pause, resume or cancel a backfill; it follows within a second."""
    id_, wanted = call.part("id"), call.body.wanted
    log.warning("backfill requested", id=id_, wanted=wanted, by=call.who)
    found = await call.store.want_backfill(id_, wanted) if id_.isascii() else None
    if found is None:
        raise Problem(404, f"there is no backfill {id_}")
    if found.ended:
        raise Problem(409, f"{id_} has ended: {found.progress.state}")
    return _backfill(found, None)


async def gaps(call: Call) -> models.Gaps:
    """Changes that were not delivered, oldest first."""
    return models.Gaps(
        gaps=[
            models.Gap(
                id=gap.id,
                kind=gap.kind,
                stream=gap.stream,
                pipeline=gap.pipeline,
                step=gap.step,
                namespaces=list(gap.namespaces),
                since=_moment(gap.since),
                until=_moment(gap.until),
                open=gap.open,
                count=gap.count,
                reason=reason(gap, documents=call.payloads),
                time=gap.time,
            )
            for gap in await call.store.gaps()
        ]
    )


async def checkpoints(call: Call) -> models.Checkpoints:
    """The stored positions of the streams."""
    now = call.relay.clock.now()
    return models.Checkpoints(
        checkpoints=[
            models.Checkpoint(
                stream=each.stream,
                time=_moment(each.position.time),
                updated=each.updated,
                behind_seconds=None if each.position.time is None else max(0.0, now - each.position.time.time),
            )
            for each in await call.store.checkpoints()
        ]
    )


def _backfill(record: Backfill, live: BackfillProgress | None) -> models.Backfill:
    progress = live or record.progress
    return models.Backfill(
        id=record.id,
        namespace=str(record.namespace),
        origin=record.origin,
        state=progress.state,
        reason=progress.reason,
        documents=progress.documents,
        estimated=progress.estimated,
        created=record.created,
        started=progress.started,
        updated=progress.updated,
        ended=progress.ended,
        step=record.step,
        pipeline=record.pipeline,
        rate=record.rate,
    )


def _moment(time: Timestamp | None) -> datetime | None:
    return None if time is None else time.as_datetime()
