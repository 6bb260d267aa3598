"""Prometheus collectors: values are gathered on each scrape, not while events flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from mess.telemetry.counters import Count, Counter, StreamStatus, Timing

_GAUGES: tuple[tuple[str, str, Callable[[StreamStatus], float | None]], ...] = (
    ("mess_stream_connected", "Whether the stream is connected.", lambda stream: float(stream.connected)),
    (
        "mess_stream_stopped",
        "Whether the stream has stopped because its history was lost.",
        lambda stream: float(stream.stopped),
    ),
    ("mess_lag_seconds", "Now minus the cluster time of the newest event done.", lambda stream: stream.lag),
    ("mess_window_events", "Events in flight.", lambda stream: stream.window_events),
    ("mess_window_bytes", "Bytes of BSON in flight.", lambda stream: stream.window_bytes),
    (
        "mess_oplog_headroom_seconds",
        "How far the stream's position is ahead of the oldest entry of MongoDB's oplog.",
        lambda stream: stream.headroom,
    ),
    ("mess_checkpoint_age_seconds", "How long ago progress was stored.", lambda stream: stream.checkpoint_age),
)


class StreamCollector(Collector):
    """Reads the state of the streams on each scrape."""

    def __init__(self, streams: Callable[[], Iterable[StreamStatus]]) -> None:
        self._streams = streams

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The gauges' names; without this method, the registry would scrape once to find them."""
        return [GaugeMetricFamily(name, text, labels=["stream"]) for name, text, _ in _GAUGES]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges' values, without streams whose value is unknown."""
        streams = list(self._streams())
        for name, text, value_of in _GAUGES:
            family = GaugeMetricFamily(name, text, labels=["stream"])
            for stream in streams:
                value = value_of(stream)
                if value is not None:
                    family.add_metric([stream.name], value)
            yield family


_STEP = ["pipeline", "step"]
_COUNTERS = {
    "mess_events": ("Events read.", ["stream"]),
    "mess_deliveries": (
        "The outcome of each attempt of a step at an event: delivered, refused, down, ambiguous, dropped or "
        "passed_over.",
        [*_STEP, "outcome"],
    ),
    "mess_retries": ("Events retried.", _STEP),
    "mess_dead_letters": ("Events given up.", _STEP),
    "mess_events_done": ("Events done.", ["pipeline"]),
}
_TIMINGS = {"mess_step_seconds": ("Duration of a step's mini-batches.", _STEP)}


class CounterCollector(Collector):
    """Holds the relay's counters and timings, by name and label values."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[tuple[str, ...], Counter]] = {name: {} for name in _COUNTERS}
        self._timings: dict[str, dict[tuple[str, ...], Timing]] = {name: {} for name in _TIMINGS}

    def counter(self, name: str, *labels: str) -> Count:
        """A function that adds to the counter with these labels, which exists from now on."""
        return self._counters[name].setdefault(labels, Counter()).add

    def timing(self, name: str, *labels: str) -> Timing:
        """The histogram with these labels, which exists from now on."""
        return self._timings[name].setdefault(labels, Timing())

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """The current values of all counters and histograms."""
        for name, (text, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, tally in self._counters[name].items():
                counter.add_metric(list(values), tally.value)
            yield counter
        for name, (text, labels) in _TIMINGS.items():
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for values, timing in self._timings[name].items():
                counts = list(accumulate(timing.counts))
                bounds = [*map(str, Timing.BOUNDS), "+Inf"]
                histogram.add_metric(list(values), list(zip(bounds, counts, strict=True)), timing.sum)
            yield histogram
