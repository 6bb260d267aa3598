"""Knows what operators see of a worker's consumer group: from the client's statistics, and by asking now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mess.capture.kafka.admin import GroupAdmin
from mess.capture.kafka.missing import missing_topics
from mess.capture.kafka.places import PartitionKey
from mess.capture.kafka.settings import Protocol
from mess.config.model import KafkaSource
from mess.leadership import now
from mess.relay.kafka.group import KafkaGroup, KafkaPartition
from mess.relay.kafka.streams import Partition
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_ASK_AGAIN, _ASK_SOON = 15.0, 3.0  # seconds; the latter while it has not joined, or a topic is missing


class GroupWatch:
    """Follows the group of a `source`; `partitions` are those that this member has, and `trouble` is why it cannot
    read. `idle` is called when the group has this member, but no partition for it."""

    def __init__(
        self,
        source: KafkaSource,
        admin: GroupAdmin,
        partitions: Callable[[], Sequence[Partition]],
        *,
        heard_at: Callable[[], float | None],
        trouble: Callable[[], str | None],
        idle: Callable[[], None],
    ) -> None:
        self._source = source
        self._admin = admin
        self._partitions = partitions
        self._idle = idle
        self._up = self._steady = self._present = False
        self._protocol: Protocol | None = None
        self._joining = asyncio.Event()
        self._heard_at = heard_at
        self._trouble = trouble
        self._state = "joining"
        self._ends: dict[PartitionKey, int] = {}
        self._members: int | None = None
        self._rebalances = 0

    def joining(self, protocol: Protocol) -> None:
        """This member is about to join the group, with this protocol."""
        self._protocol = protocol
        self._joining.set()

    def heard(self, statistics: Mapping[str, Any]) -> None:
        """Use a sample of the client's statistics."""
        group = statistics.get("cgrp", {})
        self._up = group.get("state") == "up"
        self._steady = self._up and group.get("join_state") == "steady"
        self._state = str(group.get("join_state", self._state))
        self._rebalances = int(group.get("rebalance_cnt", 0))
        topics = statistics.get("topics", {})
        for each in self._partitions():
            found = topics.get(each.key.topic, {}).get("partitions", {}).get(str(each.key.number), {})
            if (end := found.get("hi_offset", -1)) >= 0:
                self._ends[each.key] = end
                each.source.caught_up(end, statistics["time"])

    @property
    def _joined(self) -> bool:
        # With the newer protocol, the client calls a member steady only once it has had a partition.
        return self._steady or (self._up and self._present)

    @property
    def group(self) -> KafkaGroup:
        """What is known."""
        heard_at = self._heard_at()
        return KafkaGroup(
            group=self._source.group,
            protocol=self._protocol,
            member=(self._admin.member or self._admin.client_id) if self._joined else None,
            state=self._state,
            topics=self._source.topics,
            assigned=tuple(self._shown(each) for each in self._partitions()),
            heartbeat_age=None if heard_at is None else max(0.0, now() - heard_at),
            members=self._members or None,  # none, in an answer from before this one joined
            partitions=self._admin.partitions,
            rebalances=self._rebalances,
            problem=self._problem(),
        )

    def _problem(self) -> str | None:
        return self._mistake() or (None if self._joined else self._trouble())

    def _mistake(self) -> str | None:
        """What an operator has to put right."""
        if self._admin.strangers:
            return (
                f"another program reads with the group {self._source.group}, too: {', '.join(self._admin.strangers)}. "
                "MESS does not deliver what that reads; give each program a group of its own"
            )
        if not self._admin.missing:
            return None
        return "; ".join(missing_topics(self._admin.missing))

    def _shown(self, partition: Partition) -> KafkaPartition:
        done, end = partition.offset, self._ends.get(partition.key)
        offset = partition.committed.offset if done is None else done
        lag = None if end is None else max(0, end - offset)
        return KafkaPartition(*partition.key, lag=lag, committed=partition.committed.offset, end=end)

    async def run(self) -> None:
        """Ask how many members the group has, now and then, forever."""
        # While another question makes librdkafka connect to the coordinator, over TLS, this one is often not answered.
        await self._joining.wait()
        logged: str | None = None
        while True:
            try:
                self._members = await asyncio.to_thread(self._admin.members)
            except Exception as error:
                self._members, self._present = None, False
                log.debug("the group cannot be described", error=str(error))
            else:
                self._present = self._admin.present
                if self._joined and not self._partitions():
                    self._idle()
                if (mistake := self._mistake()) not in (None, logged):
                    log.warning(f"Kafka: {mistake}")
                elif mistake is None and logged is not None:
                    log.info("no longer a problem", problem=f"Kafka: {logged}")
                logged = mistake
            await asyncio.sleep(_ASK_AGAIN if self._joined and not self._admin.missing else _ASK_SOON)
