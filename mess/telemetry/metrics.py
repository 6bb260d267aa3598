"""The relay's Prometheus metrics. The hot path counts once per mini-batch, on children that are bound in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from mess.event import Event
from mess.telemetry.counters import Count, StreamStatus, Timing

__all__ = ["CONTENT_TYPE", "Count", "CountFinished", "Meters", "Metrics", "StepMetrics", "StreamStatus"]

CountFinished = Callable[[Sequence[Event], bool], None]
"""Called with events that have left the pipeline, and whether they passed all steps (otherwise they were dropped,
skipped, or became dead letters)."""


class StepMetrics:
    """The counters of one step of one pipeline; each method takes a number of events."""

    __slots__ = (
        "ambiguous",
        "dead_lettered",
        "delivered",
        "down",
        "dropped",
        "passed_over",
        "refused",
        "retried",
        "took",
    )

    def __init__(self, outcome: Callable[[str], Count], retried: Count, dead_lettered: Count, timing: Timing) -> None:
        self.delivered = outcome("delivered")
        """The step processed them."""
        self.refused = outcome("refused")
        """The step will never accept them."""
        self.down = outcome("down")
        """The sink could not accept any."""
        self.ambiguous = outcome("ambiguous")
        """Either the events or the sink may be at fault."""
        self.dropped = outcome("dropped")
        """The step dropped them."""
        self.passed_over = outcome("passed_over")
        """The step had nothing to do for them, and they bypassed it."""
        self.retried: Count = retried
        """They are retried."""
        self.dead_lettered: Count = dead_lettered
        """They were given up and stored as dead letters."""
        self.took = timing.observe
        """The duration of a mini-batch in seconds."""


class Meters(Protocol):
    """Counts the outcomes of events."""

    def step(self, pipeline: str, step: str) -> StepMetrics:
        """The counters of a step."""

    def events(self, stream: str) -> Count:
        """Counts events read by a stream."""

    def finished(self, pipeline: str) -> CountFinished:
        """A callback for events that have left a pipeline."""


class Metrics:
    """All metrics of one relay, in its own registry; the config bounds the number of labels.

    `streams` returns the state of the streams for each scrape; it may be set later. `changed` is how many events are
    done.
    """

    def __init__(self, version: str, streams: Callable[[], Iterable[StreamStatus]] = lambda: ()) -> None:
        # Imported here because the command line does not need it, and it takes longer to import than all of MESS.
        import prometheus_client as prometheus

        from mess.telemetry.collector import CounterCollector, StreamCollector

        self.streams = streams
        self.changed = 0
        self._registry = registry = prometheus.CollectorRegistry()
        self._render = prometheus.generate_latest
        self._counters = CounterCollector()
        registry.register(self._counters)
        prometheus.Info("mess_build", "The relay's version.", registry=registry).info({"version": version})
        prometheus.ProcessCollector(registry=registry)
        registry.register(StreamCollector(lambda: self.streams()))

    def step(self, pipeline: str, step: str) -> StepMetrics:
        """The counters of a step."""
        return StepMetrics(
            lambda outcome: self._counters.counter("mess_deliveries", pipeline, step, outcome),
            self._counters.counter("mess_retries", pipeline, step),
            self._counters.counter("mess_dead_letters", pipeline, step),
            self._counters.timing("mess_step_seconds", pipeline, step),
        )

    def events(self, stream: str) -> Count:
        """Counts events read by a stream."""
        return self._counters.counter("mess_events", stream)

    def finished(self, pipeline: str) -> CountFinished:
        """A callback for events that have left a pipeline."""
        count = self._counters.counter("mess_events_done", pipeline)

        def finished(events: Sequence[Event], delivered: bool) -> None:
            if delivered:
                self.changed += len(events)
                count(len(events))

        return finished

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, see `CONTENT_TYPE`."""
        return self._render(self._registry)


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `Metrics.render`."""
