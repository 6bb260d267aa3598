"""A member of a Kafka consumer group: what operators see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class KafkaPartition:
    """A partition that this process is assigned.

    `committed` is the group's offset, the next one to be delivered after a restart; `end` is the partition's end, and
    `lag` how many messages lie between. Each is None until it is known.
    """

    topic: str
    partition: int
    lag: int | None = None
    committed: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class KafkaGroup:
    """The consumer group that a process belongs to.

    `protocol` is that in use, and `member` this process's id in the group: None until it has joined. `state` is that of
    this member, as the client library says it. `heartbeat_age` is how many seconds ago the broker last answered a
    heartbeat, and `members` the number of members of the group, which share `partitions` partitions in all: each is
    None while it is unknown. `rebalances` counts how often this member's partitions have changed since the start.
    `problem` is why it cannot join the group or read all topics at present.
    """

    group: str
    protocol: Literal["consumer", "classic"] | None
    member: str | None
    state: str
    topics: Sequence[str]
    assigned: tuple[KafkaPartition, ...]
    heartbeat_age: float | None
    members: int | None
    partitions: int | None = None
    rebalances: int = 0
    problem: str | None = None
