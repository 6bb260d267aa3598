"""The relay's Prometheus metrics, which `make docs` lists in docs/operations.md.

The hot path counts once per mini-batch, on children that are bound in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mess.errors import Ambiguous, DeliveryError, EndpointDown
from mess.event import Event
from mess.telemetry.counters import Count, Gauge, Metric, StepCounts, StreamStatus, Timing
from mess.telemetry.observer import PipelineObserver, StepObserver, StreamObserver

__all__ = ["CONTENT_TYPE", "Metrics", "StreamStatus"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `Metrics.render`."""

_STEP = ("pipeline", "step")
_EVENTS = Metric("mess_events", "Events read.", ("stream",))
_DONE = Metric("mess_events_done", "Events that have gone through all steps.", ("pipeline",))
_DELIVERIES = Metric(
    "mess_deliveries",
    "Events by the result of each attempt: delivered, refused, down, ambiguous, dropped, or passed_over (the format "
    "cannot express them).",
    (*_STEP, "outcome"),
)
_RETRIES = Metric("mess_retries", "Events retried.", _STEP)
_DEAD_LETTERS = Metric("mess_dead_letters", "Events stored as dead letters.", _STEP)
_SECONDS = Metric("mess_step_seconds", "Histogram of the time that a step takes for a mini-batch.", _STEP)
_BACKFILLED = Metric("mess_backfill_documents", "Existing documents that are done.", ())
COUNTERS = (_EVENTS, _DONE, _DELIVERIES, _RETRIES, _DEAD_LETTERS, _BACKFILLED)
"""The counters, in the order of the docs."""
TIMINGS = (_SECONDS,)
"""The histograms, in the order of the docs."""
GAPS = Metric(
    "mess_gaps",
    "Recorded gaps: history_lost, unreadable, skipped, or reset. Each is a record of changes that were not delivered.",
    ("kind",),
)
"""A gauge of the whole relay."""
GAUGES = (
    Gauge("mess_stream_connected", "1 while the stream is connected, else 0.", lambda stream: float(stream.connected)),
    Gauge(
        "mess_stream_stopped",
        "1 while the stream is stopped because its history was lost, else 0.",
        lambda stream: float(stream.stopped),
    ),
    Gauge(
        "mess_oplog_headroom_seconds",
        "How far the position is ahead of the oldest oplog entry. Absent if the user may not read local, and on "
        "mongos.",
        lambda stream: stream.headroom,
    ),
    Gauge(
        "mess_lag_seconds",
        "Server time minus the cluster time up to which everything is done or, while idle, has been read. While idle "
        "it varies by up to 15 seconds.",
        lambda stream: stream.lag,
    ),
    Gauge("mess_window_events", "Events in flight.", lambda stream: stream.window_events),
    Gauge("mess_window_bytes", "Bytes of BSON in flight.", lambda stream: stream.window_bytes),
    Gauge("mess_checkpoint_age_seconds", "Time since the last checkpoint.", lambda stream: stream.checkpoint_age),
)
"""The gauges, in the order of the docs; each has a value per stream."""


class _StreamMetrics(StreamObserver):
    __slots__ = ("_events",)

    def __init__(self, events: Count) -> None:
        self._events = events

    def read(self, events: Sequence[Event]) -> None:
        self._events(len(events))


class _PipelineMetrics(PipelineObserver):
    __slots__ = ("_changed", "_done")

    def __init__(self, *, done: Count, changed: Count) -> None:
        self._done = done
        self._changed = changed

    def finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        if delivered:
            self._done(len(events))
            self._changed(len(events))


class _CountedStep(StepObserver):
    __slots__ = (
        "_ambiguous",
        "_bypassed",
        "_dead_letters",
        "_delivered",
        "_down",
        "_dropped",
        "_refused",
        "_retries",
        "_seconds",
    )

    def __init__(
        self, *, outcome: Callable[[str], Count], retries: Count, dead_letters: Count, seconds: Timing
    ) -> None:
        self._delivered = outcome("delivered")
        self._refused = outcome("refused")
        self._down = outcome("down")
        self._ambiguous = outcome("ambiguous")
        self._dropped = outcome("dropped")
        self._bypassed = outcome("passed_over")
        self._retries = retries
        self._dead_letters = dead_letters
        self._seconds = seconds.observe

    def attempted(self, events: Sequence[Event], seconds: float) -> None:
        self._seconds(seconds)

    def delivered(self, events: Sequence[Event]) -> None:
        self._delivered(len(events))

    def dropped(self, count: int) -> None:
        self._dropped(count)

    def bypassed(self, count: int) -> None:
        self._bypassed(count)

    def failed(self, events: Sequence[Event], error: DeliveryError) -> None:
        down, ambiguous = isinstance(error, EndpointDown), isinstance(error, Ambiguous)
        count = self._down if down else self._ambiguous if ambiguous else self._refused
        count(len(events))

    def retried(self, events: Sequence[Event]) -> None:
        self._retries(len(events))

    def given_up(self, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        if stored:
            self._dead_letters(len(events))


class Metrics:
    """All metrics of one relay, in its own registry; an `Observer`. The config bounds the number of labels.

    `streams` returns the state of the streams for each scrape; it may be set later. `gaps` returns the number of gaps
    of each kind. `changed` is how many events are done.
    """

    def __init__(
        self,
        version: str,
        streams: Callable[[], Iterable[StreamStatus]] = lambda: (),
        gaps: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        # Imported here because the command line does not need it, and it takes longer to import than all of MESS.
        import prometheus_client as prometheus

        from mess.telemetry.collector import CounterCollector, LabelledCollector, StreamCollector

        self.streams = streams
        self.changed = 0
        self._registry = registry = prometheus.CollectorRegistry()
        self._render = prometheus.generate_latest
        self._counters = CounterCollector()
        registry.register(self._counters)
        self.backfilled: Count = self._counters.counter(_BACKFILLED)
        """Counts existing documents that are done."""
        prometheus.Info("mess_build", "The relay's version.", registry=registry).info({"version": version})
        prometheus.ProcessCollector(registry=registry)
        registry.register(StreamCollector(GAUGES, lambda: self.streams()))
        registry.register(LabelledCollector(GAPS, gaps))

    def stream(self, name: str) -> StreamObserver:
        """See `Observer`."""
        return _StreamMetrics(self._counters.counter(_EVENTS, name))

    def pipeline(self, name: str) -> PipelineObserver:
        """See `Observer`."""
        return _PipelineMetrics(done=self._counters.counter(_DONE, name), changed=self._change)

    def step(self, pipeline: str, step: str) -> StepObserver:
        """See `Observer`."""
        counters = self._counters
        return _CountedStep(
            outcome=lambda outcome: counters.counter(_DELIVERIES, pipeline, step, outcome),
            retries=counters.counter(_RETRIES, pipeline, step),
            dead_letters=counters.counter(_DEAD_LETTERS, pipeline, step),
            seconds=counters.timing(_SECONDS, pipeline, step),
        )

    def read_from(self, stream: str) -> int:
        """How many events have been read from a stream."""
        return self._counters.value(_EVENTS, stream)

    def done_in(self, pipeline: str) -> int:
        """How many events have gone through all steps of a pipeline."""
        return self._counters.value(_DONE, pipeline)

    def step_counts(self, pipeline: str, step: str) -> StepCounts:
        """What a step has done."""
        counters, place = self._counters, (pipeline, step)
        timing = counters.timing(_SECONDS, *place)
        return StepCounts(
            delivered=counters.value(_DELIVERIES, *place, "delivered"),
            dropped=counters.value(_DELIVERIES, *place, "dropped"),
            bypassed=counters.value(_DELIVERIES, *place, "passed_over"),
            failed=sum(counters.value(_DELIVERIES, *place, kind) for kind in ("refused", "down", "ambiguous")),
            retried=counters.value(_RETRIES, *place),
            dead_letters=counters.value(_DEAD_LETTERS, *place),
            attempts=sum(timing.counts),
            seconds=timing.sum,
        )

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, see `CONTENT_TYPE`."""
        return self._render(self._registry)

    def _change(self, count: int) -> None:
        self.changed += count
