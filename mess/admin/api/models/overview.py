"""The relay at a glance: streams, pipelines, steps, and why they wait."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from mess.admin.api.models.base import Input, Model


class OldestEvent(Model):
    """The oldest event that waits."""

    id: str
    namespace: str
    age_seconds: float | None
    """Time since the change was committed; null if unknown."""


class Wait(Model):
    """Why something waits."""

    cause: str
    """What it waits for, in a few words."""
    since: datetime | None
    """Since when, if known."""
    events: int
    """How many events wait for it."""
    oldest: OldestEvent | None
    next_attempt_seconds: float | None
    """Time until the next attempt; null if there is none, or if it depends on others."""
    remedy: str | None
    """What would help."""
    text: str
    """All of this in a sentence."""


class Pause(Model):
    """A pause that an operator asked for. It survives restarts."""

    since: datetime
    by: str
    """Who asked for it: a user and host, or the address of an API client."""
    reason: str | None
    """The reason given, if any."""


class Stream(Model):
    """A change stream."""

    name: str
    state: Literal["reading", "disconnected", "blocked", "paused", "stopped"]
    problem: str | None
    """Why it is not connected, or why it stopped."""
    watches: list[str]
    """The databases and collections that it reads, as named in the config (globs included); empty for all."""
    pipelines: list[str]
    """The pipelines that its events take."""
    read: int
    """How many events it has read since the start."""
    lag_seconds: float | None
    window_events: int
    """Events in flight."""
    window_max_events: int
    window_bytes: int
    """Bytes of BSON in flight."""
    window_max_bytes: int
    checkpoint_age_seconds: float | None
    """Time since its position was last stored."""
    oplog_headroom_seconds: float | None
    """How far its position is ahead of MongoDB's oldest oplog entry; null if unknown, or while the oplog has room, so
    that nothing is lost yet."""
    pause: Pause | None
    wait: Wait | None
    """Why it does not make progress although events are there; null if it does."""


class Streams(Model):
    streams: list[Stream]


class Step(Model):
    """A step of a pipeline. The counts are since the start."""

    name: str
    kind: str
    """The kind of step, such as `http`, `filter`, or the name of a plugin."""
    about: str
    """What it does, in a few words, without secrets."""
    sink: bool
    """Whether it delivers outside of the relay."""
    state: Literal["up", "down", "paused"]
    delivered: int
    dropped: int
    """Events that the step dropped on purpose, or that bypassed it because they are not for it."""
    failed: int
    """Events in failed attempts."""
    retried: int
    dead_letters: int
    attempts: int
    """How many times it was called."""
    seconds: float
    """The time that all calls together took."""
    pause: Pause | None
    wait: Wait | None


class Pipeline(Model):
    """An ordered list of steps."""

    name: str
    """The name of its scope in the config; empty for the top level."""
    state: Literal["flowing", "waiting", "paused"]
    streams: list[str]
    done: int
    """Events that went through all steps since the start."""
    waiting_events: int
    """Events that are read and not finished."""
    steps: list[Step]
    pause: Pause | None
    wait: Wait | None
    """Why its oldest event waits; null if events flow."""


class Pipelines(Model):
    pipelines: list[Pipeline]


class Instance(Model):
    """The process that answers."""

    id: str
    host: str
    pid: int


class ActiveProcess(Model):
    """The process that is active."""

    id: str
    host: str
    pid: int
    since: datetime | None
    """Since when; null if unknown."""


class Role(Model):
    """What this process does under `ha`: of several with the relay's name, one is active."""

    name: Literal["active", "standby"]
    since: datetime
    """Since when this process has had this role."""
    lease_seconds: float
    """How long after the last sign of life of the active process a standby takes over."""
    epoch: int
    """The active process's epoch, which its requests carry as `mess-epoch`; 0 in a standby."""
    active: ActiveProcess | None
    """The process that is active; null if none is known to be."""


class KafkaPartition(Model):
    """A partition that this process is assigned. Offsets and lag are null while they are unknown."""

    topic: str
    partition: int
    lag: int | None
    """Messages that are not delivered yet."""
    committed: int | None
    """The group's offset: the first message that is delivered after a restart."""
    end: int | None
    """The offset at the end of the partition."""


class KafkaGroup(Model):
    """The consumer group that this process is a member of. Each process shows the partitions that it is assigned."""

    name: str
    protocol: Literal["consumer", "classic"] | None
    """The rebalance protocol: `consumer` is that of KIP-848; null until the process has joined."""
    member: str | None
    """This process's id in the group; null until it has joined."""
    state: str
    topics: list[str]
    members: int | None
    """How many members the group has; null if unknown."""
    partitions: int | None
    """How many partitions the topics have, those of other members included; null if unknown."""
    lag: int | None
    """Messages of the assigned partitions that are not delivered yet; null if unknown."""
    heartbeat_age_seconds: float | None
    """Time since Kafka answered the last heartbeat; null if unknown."""
    rebalances: int
    """How often this process's partitions have changed since the start."""
    assigned: list[KafkaPartition]


class Access(Model):
    """What the client that asks may do. `why` says why not, and how to get access."""

    documents: bool
    """Whether it may see documents and the config."""
    changes: bool
    """Whether it may change something."""
    payloads: bool
    """False if the config hides all documents (`admin: {payloads: off}`)."""
    why: str | None


class Reload(Model):
    """The result of a reload of the config."""

    time: datetime
    ok: bool
    text: list[str]
    """What was replaced, what takes effect later, or what is wrong; one sentence each."""


class Status(Model):
    """The relay at a glance."""

    time: datetime
    """When this was true. Rates follow from the counts of two answers."""
    name: str
    version: str
    instance: Instance
    role: Role | None
    """Null without `ha`, and while the process starts. A standby has no streams and pipelines."""
    group: KafkaGroup | None
    """Null unless the source is Kafka. Each assigned partition is a stream, called `topic[partition]`."""
    uptime_seconds: float
    ready: bool
    problems: list[str]
    """Why it is not ready."""
    warnings: list[str]
    """What needs attention although it is ready."""
    done: int
    """Events that went through all steps since the start."""
    access: Access
    streams: list[Stream]
    pipelines: list[Pipeline]
    oplog_seconds: float | None
    """How far back MongoDB's oplog reaches; null if unknown, or while it still has room."""
    dead_letters: int | None
    """How many are stored; null if unknown. Counted every ten seconds."""
    gaps: int
    backfills: int
    """Backfills that have not ended."""
    last_reload: Reload | None


class Target(Input):
    """What is paused or resumed: a stream, a pipeline, or one step of a pipeline."""

    stream: str | None = None
    pipeline: str | None = None
    step: str | None = None
    """A step's name; together with its pipeline's."""


class PauseRequest(Target):
    reason: Annotated[str, Field(max_length=500)] | None = None
    """Why, for whoever sees it later."""


class Paused(Model):
    """A pause and what it applies to."""

    target: Target
    pause: Pause
    applies: bool
    """False if the config names no such stream, pipeline or step any more."""


class Pauses(Model):
    pauses: list[Paused]
