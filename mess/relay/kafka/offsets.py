"""Commits how far each partition is done as the consumer group's offsets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from mess.capture.kafka.consumer import GroupMember
from mess.capture.kafka.places import GroupOffset, PartitionKey
from mess.capture.kafka.record import position
from mess.errors import SourceError
from mess.relay.kafka.streams import KafkaStreams
from mess.relay.stopping import Stopping
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_TROUBLE_SECONDS = 10.0
_LAST_SECONDS = 3.0


class OffsetCommits:
    """Commits what has moved: at every `interval`, and when asked. Gaps that wait are stored before. Once the relay is
    `stopping`, it does not wait long for the group, which may be rebalancing: what is not committed then is committed
    when this member leaves it."""

    def __init__(
        self,
        member: GroupMember,
        streams: KafkaStreams,
        store: StateStore,
        *,
        interval: float,
        stopping: Stopping,
    ) -> None:
        self._member = member
        self._streams = streams
        self._store = store
        self._stopping = stopping
        self.interval = interval
        self.idle_interval = interval
        self.problem: str | None = None
        self._works_at = time.monotonic()
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Commit what has moved, at every interval, forever. Raises StateError."""
        while True:
            await asyncio.sleep(self.interval)
            await self.save()

    async def save(self) -> None:
        """Commit what has moved. Raises StateError if a gap cannot be stored before."""
        try:
            async with asyncio.timeout(_LAST_SECONDS if self._stopping.is_set() else None):
                await self._commit(everything=False)
            self.problem = None
            self._works_at = time.monotonic()
        except (SourceError, TimeoutError) as error:
            # During a rebalance, the group accepts none.
            if time.monotonic() - self._works_at < _TROUBLE_SECONDS:
                return
            reason = str(error) or "no answer in time"
            if self.problem is None:
                log.warning("offsets cannot be committed at present; trying again", error=reason)
            self.problem = f"offsets cannot be committed: {reason}"

    async def prove(self) -> None:
        """Commit the offsets of all partitions, whether they have moved or not. Raises SourceError if the group does
        not accept that, StateError."""
        await self._commit(everything=True)

    async def _commit(self, *, everything: bool) -> None:
        async with self._one_at_a_time:
            offsets: dict[PartitionKey, GroupOffset] = {}
            for each in self._streams.partitions:
                saved = each.committed
                reached = each.reached
                if each.stopped is None and (everything or reached not in (None, saved)):
                    offsets[each.key] = saved if reached is None else reached
            await self._store.record_deferred_gaps()
            if not offsets:
                return
            await self._member.commit(offsets)
            self._saved(offsets)

    def _saved(self, offsets: Mapping[PartitionKey, GroupOffset]) -> None:
        now = time.monotonic()
        for each in self._streams.partitions:
            offset = offsets.get(each.key)
            if offset is not None:
                reached = each.progress.window.position
                each.committed = offset
                each.progress.saved = position(*each.key, offset.offset, None if reached is None else reached.time)
                each.progress.saved_at = now
