"""Prometheus collectors: values are gathered on each scrape, not while events flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from mess.telemetry.counters import Count, Counter, Gauge, Metric, StreamStatus, Timing


class StreamCollector(Collector):
    """Reads the state of the streams on each scrape."""

    def __init__(self, gauges: Sequence[Gauge], streams: Callable[[], Iterable[StreamStatus]]) -> None:
        self._gauges = gauges
        self._streams = streams

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The gauges' names; without this method, the registry would scrape once to find them."""
        return [GaugeMetricFamily(gauge.name, gauge.text, labels=["stream"]) for gauge in self._gauges]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges' values, without streams whose value is unknown."""
        streams = list(self._streams())
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=["stream"])
            for stream in streams:
                value = gauge.value(stream)
                if value is not None:
                    family.add_metric([stream.name], value)
            yield family


class LabelledCollector(Collector):
    """Reads the values of a metric with one label on each scrape."""

    def __init__(self, metric: Metric, values: Callable[[], Mapping[str, int]]) -> None:
        self._metric = metric
        self._values = values

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The metric's name."""
        return [GaugeMetricFamily(self._metric.name, self._metric.text, labels=self._metric.labels)]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric's values, by label."""
        family = GaugeMetricFamily(self._metric.name, self._metric.text, labels=self._metric.labels)
        for label, value in self._values().items():
            family.add_metric([label], value)
        yield family


class CounterCollector(Collector):
    """Holds the relay's counters and timings, by metric and label values."""

    def __init__(self) -> None:
        self._counters: dict[Metric, dict[tuple[str, ...], Counter]] = {}
        self._timings: dict[Metric, dict[tuple[str, ...], Timing]] = {}

    def counter(self, metric: Metric, *labels: str) -> Count:
        """A function that adds to the counter with these labels, which exists from now on."""
        return self._counters.setdefault(metric, {}).setdefault(labels, Counter()).add

    def timing(self, metric: Metric, *labels: str) -> Timing:
        """The histogram with these labels, which exists from now on."""
        return self._timings.setdefault(metric, {}).setdefault(labels, Timing())

    def value(self, metric: Metric, *labels: str) -> int:
        """The value of a counter; 0 if it does not exist."""
        found = self._counters.get(metric, {}).get(labels)
        return 0 if found is None else found.value

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """The current values of all counters and histograms."""
        for metric, counters in self._counters.items():
            family = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
            for labels, counter in counters.items():
                family.add_metric(list(labels), counter.value)
            yield family
        for metric, timings in self._timings.items():
            histogram = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
            for labels, timing in timings.items():
                counts = list(accumulate(timing.counts))
                bounds = [*map(str, Timing.BOUNDS), "+Inf"]
                histogram.add_metric(list(labels), list(zip(bounds, counts, strict=True)), timing.sum)
            yield histogram
