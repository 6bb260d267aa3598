"""Predicts where a relay's streams would begin if it were started now; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import Timestamp

from mess.capture.arrangement import Arrangement, Begin, Lost, Recorded, arrange
from mess.capture.coverage import Coverage
from mess.capture.oplog import oldest_kept
from mess.capture.plan import StreamPlan, assignments
from mess.capture.reach import Connect
from mess.capture.start import explained, fresh_time, time_now
from mess.config.model import Config
from mess.relay.resuming import recorded_in, verify_times, with_decisions
from mess.state.store import Gap, StateStore


@dataclass(frozen=True, slots=True)
class Outlook:
    """The streams and where they would begin, with the gaps recorded so far.

    `known` is the coverage map so far, `now` the server's cluster time, and `oldest` that of its oldest change (None if
    none has been removed, or if it is unknown).
    """

    arrangement: Arrangement
    known: Coverage
    gaps: Sequence[Gap]
    now: Timestamp
    oldest: Timestamp | None


async def outlook(
    config: Config,
    plans: Sequence[StreamPlan],
    store: StateStore,
    client: Any,
    connect: Connect,
    *,
    recorded: Recorded | None = None,
) -> Outlook:
    """What a start would do with the contents of `store`; or a relay that has `recorded` progress, with those of its
    streams that are in `plans`. `connect` waits for MongoDB.

    Raises DamagedState for positions that cannot be decoded, StateError, SourceError.
    """
    if recorded is None:
        recorded = recorded_in(await store.positions(), config.name)
    gaps = await store.gaps()
    recorded = with_decisions(recorded, gaps)
    begin = Begin(await connect(client, lambda client: fresh_time(client, config.start)), config.start == "oldest")
    now = await connect(client, lambda client: explained(time_now(client)))
    verify_times(recorded, now, begin.time)
    oldest = await connect(client, oldest_kept)
    lost = Lost(oldest, None if config.on_history_lost == "stop" else now)
    return Outlook(
        arrangement=arrange(plans, assignments(config), recorded, begin, lost),
        known=recorded.coverage,
        gaps=gaps,
        now=now,
        oldest=oldest,
    )
