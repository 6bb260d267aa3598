"""Stores where a relay's streams are, and what they have lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from bson import Timestamp

from mess.capture.arrangement import Arrangement
from mess.capture.coverage import Coverage, to_json
from mess.commands import command, quoted
from mess.event import Position
from mess.relay.gaps import Keeper
from mess.relay.resuming import settled
from mess.state.store import Checkpoint, Gap, StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_REASON = "the position is no longer in MongoDB's oplog"


async def store_arrangement(store: StateStore, coverage: Coverage, positions: dict[str, tuple[str, Position]]) -> None:
    """Store a coverage map and its streams' positions, as the plan's hash and the position, by name."""
    now = datetime.now(timezone.utc)
    checkpoints = [
        Checkpoint(stream=name, plan=plan, position=position, updated=now)
        for name, (plan, position) in positions.items()
    ]
    await store.arrange(to_json(coverage), checkpoints)


async def open_gap(store: StateStore, stream: str, position: Position, coverage: Coverage, *, announce: bool) -> None:
    """Record that a stream waits at a position for a decision, with the namespaces that it covers. Their receivers are
    to be told if `announce` says so."""
    namespaces = tuple(str(rule.region) for rule in coverage if rule.value.stream == stream)
    gap = Gap(
        stream=stream,
        since=position.time,
        until=None,
        reason=_REASON,
        time=datetime.now(timezone.utc),
        namespaces=namespaces,
        open=True,
        unannounced=namespaces if announce else (),
    )
    await store.open_gap(gap)


async def record_gaps(store: StateStore, keeper: Keeper, arrangement: Arrangement, *, announce: bool) -> None:
    """Record what an arrangement skips (with `keeper`) and which of its streams wait, before it is stored. Receivers
    are to be told if `announce` says so."""
    now = datetime.now(timezone.utc)
    for skipped in arrangement.skipped:
        namespaces = tuple(map(str, skipped.regions))
        await keeper.record_gap(
            Gap(
                stream=skipped.stream,
                since=skipped.since,
                until=skipped.until,
                reason=_REASON,
                time=now,
                namespaces=namespaces,
                unannounced=namespaces if announce else (),
            )
        )
        log.error(
            "history lost; continuing",
            stream=skipped.stream,
            namespaces=", ".join(namespaces),
            since=written(skipped.since),
            until=written(skipped.until),
        )
    for start in arrangement.starts:
        if start.waits:
            await open_gap(store, start.name, start.position, arrangement.coverage, announce=announce)
            log.error("stream stopped", stream=start.name, problem=why_stopped(start.name, start.position))


async def close_gaps(store: StateStore, arrangement: Arrangement, gaps: Sequence[Gap]) -> None:
    """Close the gaps of streams that no longer wait, and end those of streams that begin again after a reset.

    Called after the arrangement is stored; otherwise a crash would lose the reason.
    """
    for gap, until in settled(gaps, arrangement):
        await store.close_gap(gap, until)
    begins = {start.name: start.position.time for start in arrangement.starts}
    for gap in gaps:
        if gap.kind == "reset" and gap.until is None and (begin := begins.get(gap.stream)) is not None:
            await store.record_gap(replace(gap, until=begin))


def why_stopped(name: str, position: Position) -> str:
    """Why a stream is not read: its position is lost; and what to do."""
    reset = command(f"checkpoints reset --stream {quoted(name)}")
    return (
        f"its position ({written(position.time)}) is no longer in MongoDB's oplog, so changes have been lost to this "
        f"relay. To continue from now: {reset}. With a larger oplog the relay can be down for longer; with "
        f"`on_history_lost: now` it records the gap and continues automatically"
    )


def written(time: Timestamp | None) -> str:
    """A cluster time in words."""
    return "unknown" if time is None else time.as_datetime().isoformat()
