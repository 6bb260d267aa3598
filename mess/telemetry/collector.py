"""Prometheus collectors: values are gathered on each scrape, not while events flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mess.telemetry.counters import Count, Counter, Metric, Timing
from mess.telemetry.gauges import Gauge
from mess.telemetry.snapshot import Snapshot


class GaugeCollector(Collector):
    """Reads the relay's state once for each scrape. Values that are unknown are absent."""

    def __init__(self, gauges: Sequence[Gauge], snapshot: Callable[[], Snapshot]) -> None:
        self._gauges = gauges
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """The current values of all gauges."""
        now = self._snapshot()
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
            for labels, value in gauge.values(now):
                if value is not None:
                    family.add_metric(labels, value)
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
        return self._timings.setdefault(metric, {}).setdefault(labels, Timing(metric.bounds))

    def value(self, metric: Metric, *labels: str) -> int:
        """The value of a counter; 0 if it does not exist."""
        found = self._counters.get(metric, {}).get(labels)
        return 0 if found is None else found.value

    def collect(self) -> Iterator[Family]:
        """The current values of all counters and histograms."""
        for metric, counters in self._counters.items():
            family = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
            for labels, counter in counters.items():
                family.add_metric(labels, counter.value)
            yield family
        for metric, timings in self._timings.items():
            histogram = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
            bounds = [*map(str, metric.bounds), "+Inf"]
            for labels, timing in timings.items():
                counts = list(accumulate(timing.counts))
                histogram.add_metric(labels, list(zip(bounds, counts, strict=True)), timing.sum)
            yield histogram


class WithOldNames(Collector):
    """Repeats metrics that have been renamed under their old names; `renamed` has these by the new ones."""

    def __init__(self, collectors: Iterable[Collector], renamed: Mapping[str, str]) -> None:
        self._collectors = collectors
        self._renamed = renamed

    def collect(self) -> Iterator[Family]:
        """All metrics of the collectors, each family of an old name after all others."""
        old: list[Family] = []
        for collector in self._collectors:
            for family in collector.collect():
                yield family
                if (name := self._renamed.get(family.name)) is not None:
                    old.append(_copy(family, name))
        yield from old


def _copy(family: Family, name: str) -> Family:
    # A counter's family lacks the suffix that its samples have.
    suffix = "_total" if family.type == "counter" else ""
    copy = Family(name, f"Deprecated: use {family.name}{suffix}.", family.type)
    copy.samples = [
        sample._replace(name=name + sample.name.removeprefix(family.name), labels=sample.labels)
        for sample in family.samples
    ]
    return copy
