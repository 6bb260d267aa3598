"""A relay's state at one moment, for the metrics that are read on each scrape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The current state of a stream.

    `problem` is why it is not connected. `lag` and `checkpoint_age` are in seconds, None while unknown. `headroom` is
    how many seconds its position is ahead of the oplog's oldest entry, None while unknown. `window_events` and
    `window_bytes` (of BSON) are its events in flight. `stopped` is whether its history is lost, and `paused` whether an
    operator has paused it.
    """

    name: str
    connected: bool
    problem: str | None
    lag: float | None
    window_events: int
    window_bytes: int
    checkpoint_age: float | None
    headroom: float | None = None
    stopped: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """What waits in a pipeline: a number of events and of bytes (of BSON). `lag` is how many seconds ago the oldest of
    them was committed or, if none waits, up to when its streams have been read; None while unknown."""

    name: str
    events: int
    bytes: int
    lag: float | None


@dataclass(frozen=True, slots=True)
class StepStatus:
    """Whether a step of a pipeline can work at present, and whether an operator has paused it or its pipeline."""

    pipeline: str
    name: str
    up: bool
    paused: bool = False


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """What is known about the lease of a relay with `ha`: whether this process is `active`, its `epoch` (None of a
    standby), and for how many seconds it may deliver without renewing the lease, negative once it may not; None of a
    standby."""

    relay: str
    active: bool
    epoch: int | None
    left: float | None


@dataclass(frozen=True, slots=True)
class KafkaStatus:
    """This process as a member of a consumer group: `lags` of its partitions, by topic and number, in messages; None
    while unknown. `heartbeat_age` is in seconds."""

    group: str
    lags: Mapping[tuple[str, str], int | None]
    members: int | None
    rebalances: int
    heartbeat_age: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A relay's state at one moment.

    `gaps` are counted by kind, `backfills` by state, and `dead_letters` by pipeline and step; the latter two are None
    while unknown. `oplog_window` is how many seconds an oplog that removes its oldest entries reaches back; None
    while it is unknown, or has room. `lease` is None without `ha`, and `kafka` unless the source is Kafka.
    """

    ready: bool = False
    streams: Sequence[StreamStatus] = ()
    pipelines: Sequence[PipelineStatus] = ()
    steps: Sequence[StepStatus] = ()
    gaps: Mapping[str, int] = field(default_factory=dict)
    backfills: Mapping[str, int] | None = None
    dead_letters: Mapping[tuple[str, str], int] | None = None
    oplog_window: float | None = None
    lease: LeaseStatus | None = None
    kafka: KafkaStatus | None = None
