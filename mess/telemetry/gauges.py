"""The gauges, which `make docs` lists in docs/operations.md: how each gets its values from a relay's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mess.telemetry.snapshot import PipelineStatus, Snapshot, StreamStatus

Value = tuple[tuple[str, ...], float | None]
"""The values of the labels, and the gauge's value; None while it is unknown."""


class Gauge(NamedTuple):
    """A metric whose values are read on each scrape."""

    name: str
    text: str
    labels: tuple[str, ...]
    values: Callable[[Snapshot], Iterable[Value]]


def _of_stream(name: str, text: str, value: Callable[[StreamStatus], float | None]) -> Gauge:
    return Gauge(name, text, ("stream",), values=lambda now: [((each.name,), value(each)) for each in now.streams])


def _of_pipeline(name: str, text: str, value: Callable[[PipelineStatus], float | None]) -> Gauge:
    return Gauge(name, text, ("pipeline",), values=lambda now: [((each.name,), value(each)) for each in now.pipelines])


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
)
"""In the order of the docs."""
