"""Prometheus's text format, written where many series would take prometheus_client long.

That takes 15 µs for each line: with 200 pipelines, a scrape would hold up deliveries for a third of a second.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from mess.telemetry.counters import Counter, Metric, Timing
from mess.telemetry.gauges import Gauge
from mess.telemetry.snapshot import Snapshot

Lines = Iterator[str]
"""Lines of the text format, without line ends."""


class Series:
    """Holds a relay's counters and histograms, by metric and label values. `renamed` has old names of metrics by their
    new ones: each family appears under both."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._counters: dict[Metric, dict[str, Counter]] = {}
        self._timings: dict[Metric, dict[str, Timing]] = {}

    def counter(self, metric: Metric, *values: str) -> Counter:
        """The counter with these label values, which exists from now on."""
        return self._counters.setdefault(metric, {}).setdefault(_labels(metric.labels, values), Counter())

    def value(self, metric: Metric, *values: str) -> int:
        """The value of a counter; 0 if it does not exist."""
        found = self._counters.get(metric, {}).get(_labels(metric.labels, values))
        return 0 if found is None else found.value

    def timing(self, metric: Metric, *values: str) -> Timing:
        """The histogram with these label values, which exists from now on."""
        found = self._timings.setdefault(metric, {})
        return found.setdefault(_labels(metric.labels, values), Timing(metric.bounds))

    def render(self, gauges: Sequence[Gauge], now: Snapshot) -> bytes:
        """All series, and the values that `gauges` have now. Those that are unknown are absent."""
        lines: list[str] = []
        for gauge in gauges:
            values = list(gauge.values(now))
            for name, text in self._names(gauge.name, gauge.text, ""):
                lines += _head(name, text, gauge.kind)
                lines += _gauge(name, gauge.labels, values)
        for metric, counters in self._counters.items():
            for name, text in self._names(metric.name, metric.text, "_total"):
                lines += _head(name, text, "counter")
                lines += [f"{name}{labels} {float(counter.value)}" for labels, counter in counters.items()]
        for metric, timings in self._timings.items():
            for name, text in self._names(metric.name, metric.text, ""):
                lines += _head(name, text, "histogram")
                lines += _histogram(name, metric, timings)
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")

    def _names(self, name: str, text: str, suffix: str) -> Iterator[tuple[str, str]]:
        yield name + suffix, text
        if (old := self._renamed.get(name)) is not None:
            yield old + suffix, f"Deprecated: use {name}{suffix}."


def _head(name: str, text: str, kind: str) -> Lines:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _gauge(name: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float | None]]) -> Lines:
    for found, value in values:
        if value is not None:
            yield f"{name}{_labels(labels, found)} {float(value)}"


def _histogram(name: str, metric: Metric, timings: Mapping[str, Timing]) -> Lines:
    bounds = [f',le="{bound}"}}' for bound in (*metric.bounds, "+Inf")]
    for labels, timing in timings.items():
        bucket = f"{name}_bucket{labels[:-1]}"
        counts = list(accumulate(timing.counts))
        for bound, count in zip(bounds, counts, strict=True):
            yield f"{bucket}{bound} {float(count)}"
        yield f"{name}_count{labels} {float(counts[-1])}"
        yield f"{name}_sum{labels} {timing.sum}"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
