"""The gauges, which `make docs` lists in docs/operations.md: how each gets its values from a relay's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from mess.telemetry.snapshot import KafkaStatus, LeaseStatus, PipelineStatus, Snapshot, StreamStatus

Value = tuple[tuple[str, ...], float | None]
"""The values of the labels, and the gauge's value; None while it is unknown."""


class Gauge(NamedTuple):
    """A metric whose values are read on each scrape. A `counter` is one that something else counts."""

    name: str
    text: str
    labels: tuple[str, ...]
    values: Callable[[Snapshot], Iterable[Value]]
    kind: Literal["gauge", "counter"] = "gauge"


def _of_stream(name: str, text: str, value: Callable[[StreamStatus], float | None]) -> Gauge:
    return Gauge(name, text, ("stream",), values=lambda now: [((each.name,), value(each)) for each in now.streams])


def _of_pipeline(name: str, text: str, value: Callable[[PipelineStatus], float | None]) -> Gauge:
    return Gauge(name, text, ("pipeline",), values=lambda now: [((each.name,), value(each)) for each in now.pipelines])


def _of_lease(name: str, text: str, value: Callable[[LeaseStatus], float | None]) -> Gauge:
    return Gauge(
        name, text, ("relay",), values=lambda now: [] if now.lease is None else [((now.lease.relay,), value(now.lease))]
    )


def _of_kafka(
    name: str,
    text: str,
    value: Callable[[KafkaStatus], float | None],
    kind: Literal["gauge", "counter"] = "gauge",
) -> Gauge:
    return Gauge(
        name,
        text,
        ("group",),
        values=lambda now: [] if now.kafka is None else [((now.kafka.group,), value(now.kafka))],
        kind=kind,
    )


def _one(value: float | None) -> Iterable[Value]:
    return [((), value)]


def _counted(counts: Any) -> Iterable[Value]:
    return [((key,) if isinstance(key, str) else key, count) for key, count in (counts or {}).items()]


GAUGES = (
    Gauge("mess_ready", "1 while /readyz answers 200, else 0.", (), values=lambda now: _one(float(now.ready))),
    _of_stream(
        "mess_stream_connected", "1 while the stream is connected, else 0.", lambda stream: float(stream.connected)
    ),
    _of_stream(
        "mess_stream_stopped",
        "1 while the stream is stopped because its history was lost, else 0.",
        lambda stream: float(stream.stopped),
    ),
    _of_stream(
        "mess_stream_paused",
        "1 while an operator has paused the stream, else 0.",
        lambda stream: float(stream.paused),
    ),
    _of_stream(
        "mess_stream_lag_seconds",
        "Server time minus the cluster time up to which everything is done or, while idle, has been read. While idle "
        "it varies by up to 15 seconds.",
        lambda stream: stream.lag,
    ),
    _of_stream(
        "mess_oplog_headroom_seconds",
        "How far the position is ahead of the oldest oplog entry. Absent if the user may not read local, and on "
        "mongos.",
        lambda stream: stream.headroom,
    ),
    Gauge(
        "mess_oplog_window_seconds",
        "How far the oplog reaches back. Absent while it still has room, and wherever the headroom is absent.",
        (),
        values=lambda now: _one(now.oplog_window),
    ),
    _of_stream("mess_window_events", "Events in flight.", lambda stream: stream.window_events),
    _of_stream("mess_window_bytes", "Bytes of BSON in flight.", lambda stream: stream.window_bytes),
    _of_stream("mess_checkpoint_age_seconds", "Time since the last checkpoint.", lambda stream: stream.checkpoint_age),
    _of_pipeline(
        "mess_pipeline_lag_seconds",
        "Server time minus the cluster time of the oldest event that waits in the pipeline or, if none waits, up to "
        "which its streams have been read. Absent until its first event.",
        lambda pipeline: pipeline.lag,
    ),
    _of_pipeline(
        "mess_pipeline_waiting_events",
        "Events in flight in the pipeline: in its lanes, being delivered, or to be retried.",
        lambda pipeline: pipeline.events,
    ),
    _of_pipeline("mess_pipeline_waiting_bytes", "The same in bytes of BSON.", lambda pipeline: pipeline.bytes),
    Gauge(
        "mess_step_up",
        "1, or 0 while the step cannot work: its sink or one of its destinations is down, or the last attempt failed.",
        ("pipeline", "step"),
        values=lambda now: [((each.pipeline, each.name), float(each.up)) for each in now.steps],
    ),
    Gauge(
        "mess_step_paused",
        "1 while an operator has paused the step or its pipeline, else 0.",
        ("pipeline", "step"),
        values=lambda now: [((each.pipeline, each.name), float(each.paused)) for each in now.steps],
    ),
    Gauge(
        "mess_dead_letters",
        "Stored dead letters, counted every ten seconds.",
        ("pipeline", "step"),
        values=lambda now: _counted(now.dead_letters),
    ),
    Gauge(
        "mess_backfills",
        "Stored backfills by state (waiting, running, paused, done, cancelled, failed), counted every ten seconds.",
        ("state",),
        values=lambda now: _counted(now.backfills),
    ),
    Gauge(
        "mess_gaps",
        "Recorded gaps: history_lost, unreadable, skipped, or reset. Each is a record of changes that were not "
        "delivered.",
        ("kind",),
        values=lambda now: _counted(now.gaps),
    ),
    _of_lease(
        "mess_active",
        "With ha: 1 in the process that is active, 0 in a standby, and while the active process cannot renew its "
        "lease. Absent while it starts.",
        lambda lease: float(lease.active),
    ),
    _of_lease(
        "mess_lease_epoch",
        "With ha: the epoch of the active process, which each takeover and each start raises. Absent in a standby.",
        lambda lease: lease.epoch,
    ),
    _of_lease(
        "mess_lease_remaining_seconds",
        "With ha: how long the active process may deliver without renewing its lease; negative while it may not. "
        "Absent in a standby.",
        lambda lease: lease.left,
    ),
    Gauge(
        "mess_kafka_lag",
        "Messages of a partition that this process is assigned and has not finished. Absent while unknown.",
        ("group", "topic", "partition"),
        values=lambda now: (
            [] if now.kafka is None else [((now.kafka.group, *place), lag) for place, lag in now.kafka.lags.items()]
        ),
    ),
    _of_kafka(
        "mess_kafka_assigned_partitions",
        "Partitions that this process is assigned.",
        lambda kafka: len(kafka.lags),
    ),
    _of_kafka("mess_kafka_members", "Members of the consumer group.", lambda kafka: kafka.members),
    _of_kafka(
        "mess_kafka_rebalances_total",
        "How often the partitions of this process have changed.",
        lambda kafka: kafka.rebalances,
        "counter",
    ),
    _of_kafka(
        "mess_kafka_heartbeat_age_seconds",
        "Time since the broker answered this member's last heartbeat.",
        lambda kafka: kafka.heartbeat_age,
    ),
)
"""In the order of the docs."""
