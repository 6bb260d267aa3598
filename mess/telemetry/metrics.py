"""The relay's Prometheus metrics, which `make docs` lists in docs/operations.md.

The hot path counts once per mini-batch, on children that are bound in advance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mess.errors import Ambiguous, DeliveryError, EndpointDown
from mess.event import Event, commit_time
from mess.telemetry.counters import Count, Counter, Metric, StepCounts, Timing
from mess.telemetry.exposition import Series
from mess.telemetry.gauges import GAUGES
from mess.telemetry.observer import PipelineObserver, StepObserver, StreamObserver
from mess.telemetry.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `Metrics.render`."""

_STEP = ("pipeline", "step")
_READ = Metric("mess_events_read", "Events read.", ("stream",))
_DONE = Metric("mess_events_done", "Events that have gone through all steps.", ("pipeline",))
_DELIVERIES = Metric(
    "mess_deliveries",
    "Events by the result of each attempt: delivered, refused, down, ambiguous, dropped, or passed_over (the format "
    "cannot express them).",
    (*_STEP, "outcome"),
)
_RETRIES = Metric("mess_retries", "Events retried.", _STEP)
_DEAD_LETTERS = Metric("mess_dead_letters_stored", "Events stored as dead letters since the start.", _STEP)
_BACKFILLED = Metric("mess_backfill_documents", "Existing documents that are done.", ())
_STEP_SECONDS = Metric(
    "mess_step_duration_seconds",
    "Histogram of the time that an attempt of a step takes for a mini-batch.",
    _STEP,
    bounds=(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_COMMIT_TO_DELIVERY = Metric(
    "mess_commit_to_delivery_seconds",
    "Histogram of the time from the commit of a change until it has gone through all steps, by the server's clock; "
    "the oldest change of a mini-batch counts for all. Before MongoDB 6.0 up to a second too long.",
    ("pipeline",),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
)
COUNTERS = (_READ, _DONE, _DELIVERIES, _RETRIES, _DEAD_LETTERS, _BACKFILLED)
"""The counters, in the order of the docs."""
TIMINGS = (_STEP_SECONDS, _COMMIT_TO_DELIVERY)
"""The histograms, in the order of the docs."""
RENAMED = {
    "mess_events_read": "mess_events",
    "mess_dead_letters_stored": "mess_dead_letters",
    "mess_step_duration_seconds": "mess_step_seconds",
    "mess_stream_lag_seconds": "mess_lag_seconds",
}
"""The old names of metrics, by the new ones. Each stays for one release; counters are without `_total`."""


class _StreamMetrics(StreamObserver):
    __slots__ = ("_events",)

    def __init__(self, events: Counter) -> None:
        self._events = events

    def read(self, events: Sequence[Event]) -> None:
        self._events.value += len(events)


class _PipelineMetrics(PipelineObserver):
    __slots__ = ("_changed", "_done", "_now", "_seconds")

    def __init__(self, *, done: Counter, changed: Counter, seconds: Timing, now: Callable[[], float]) -> None:
        self._done = done
        self._changed = changed
        self._seconds = seconds.observe
        self._now = now

    def finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        if delivered and (count := len(events)):
            self._done.value += count
            self._changed.value += count
            # Too slow for each event of a large batch (0.9 µs), but below 1 % of what a request takes.
            first = events[0]
            if not first.backfill and (committed := commit_time(first)) is not None:
                seconds = self._now() - committed
                self._seconds(seconds if seconds > 0.0 else 0.0, count)


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
        self, *, outcome: Callable[[str], Counter], retries: Counter, dead_letters: Counter, seconds: Timing
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
        self._delivered.value += len(events)

    def dropped(self, count: int) -> None:
        self._dropped.value += count

    def bypassed(self, count: int) -> None:
        self._bypassed.value += count

    def failed(self, events: Sequence[Event], error: DeliveryError) -> None:
        down, ambiguous = isinstance(error, EndpointDown), isinstance(error, Ambiguous)
        counter = self._down if down else self._ambiguous if ambiguous else self._refused
        counter.value += len(events)

    def retried(self, events: Sequence[Event]) -> None:
        self._retries.value += len(events)

    def given_up(self, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        if stored:
            self._dead_letters.value += len(events)


class Metrics:
    """All metrics of one relay, in its own registry; an `Observer`. The config bounds the number of labels.

    `snapshot` returns the relay's state for each scrape, and `now` the time on MongoDB's server.
    """

    def __init__(
        self,
        version: str,
        snapshot: Callable[[], Snapshot] = Snapshot,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        # Imported here because the command line does not need it, and it takes longer to import than all of MESS.
        import prometheus_client as prometheus

        self._changed = Counter()
        self._snapshot = snapshot
        self._now = now
        self._series = Series(RENAMED)
        # What the library knows about the process.
        self._registry = registry = prometheus.CollectorRegistry()
        self._render = prometheus.generate_latest
        self.backfilled: Count = self._series.counter(_BACKFILLED).add
        """Counts existing documents that are done."""
        prometheus.Info("mess_build", "The relay's version.", registry=registry).info({"version": version})
        prometheus.ProcessCollector(registry=registry)

    @property
    def changed(self) -> int:
        """How many events are done."""
        return self._changed.value

    def stream(self, name: str) -> StreamObserver:
        """See `Observer`."""
        return _StreamMetrics(self._series.counter(_READ, name))

    def pipeline(self, name: str) -> PipelineObserver:
        """See `Observer`."""
        series = self._series
        return _PipelineMetrics(
            done=series.counter(_DONE, name),
            changed=self._changed,
            seconds=series.timing(_COMMIT_TO_DELIVERY, name),
            now=self._now,
        )

    def step(self, pipeline: str, step: str) -> StepObserver:
        """See `Observer`."""
        series = self._series
        return _CountedStep(
            outcome=lambda outcome: series.counter(_DELIVERIES, pipeline, step, outcome),
            retries=series.counter(_RETRIES, pipeline, step),
            dead_letters=series.counter(_DEAD_LETTERS, pipeline, step),
            seconds=series.timing(_STEP_SECONDS, pipeline, step),
        )

    def read_from(self, stream: str) -> int:
        """How many events have been read from a stream."""
        return self._series.value(_READ, stream)

    def done_in(self, pipeline: str) -> int:
        """How many events have gone through all steps of a pipeline."""
        return self._series.value(_DONE, pipeline)

    def step_counts(self, pipeline: str, step: str) -> StepCounts:
        """What a step has done."""
        series, place = self._series, (pipeline, step)
        timing = series.timing(_STEP_SECONDS, *place)
        return StepCounts(
            delivered=series.value(_DELIVERIES, *place, "delivered"),
            dropped=series.value(_DELIVERIES, *place, "dropped"),
            bypassed=series.value(_DELIVERIES, *place, "passed_over"),
            failed=sum(series.value(_DELIVERIES, *place, kind) for kind in ("refused", "down", "ambiguous")),
            retried=series.value(_RETRIES, *place),
            dead_letters=series.value(_DEAD_LETTERS, *place),
            attempts=sum(timing.counts),
            seconds=timing.sum,
        )

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, see `CONTENT_TYPE`."""
        return self._series.render(GAUGES, self._snapshot()) + self._render(self._registry)
