"""What the relay counts, for Prometheus. The hot path counts once per mini-batch, on children bound in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from mess.event import Event
from mess.telemetry.counters import Count, StreamStatus, Timing

__all__ = ["CONTENT_TYPE", "Count", "CountFinished", "Meters", "Metrics", "StepMetrics", "StreamStatus"]

CountFinished = Callable[[Sequence[Event], bool], None]
"""Told of events that no step has more to do with, and whether they went through all of them (else they were dropped,
skipped, or lie in the dead letters)."""


class StepMetrics:
    """The counters of one step of one pipeline; each method takes how many events."""

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
        """The step did its work on them."""
        self.refused = outcome("refused")
        """The step will never take them."""
        self.down = outcome("down")
        """The sink could take none."""
        self.ambiguous = outcome("ambiguous")
        """Either the events or the sink were the trouble."""
        self.dropped = outcome("dropped")
        """The step let them go no further."""
        self.passed_over = outcome("passed_over")
        """The step had nothing to do for them, and they went on past it."""
        self.retried: Count = retried
        """They are tried again."""
        self.dead_lettered: Count = dead_lettered
        """They were given up on and kept."""
        self.took = timing.observe
        """A mini-batch took so many seconds."""


class Meters(Protocol):
    """Whoever counts what becomes of events."""

    def step(self, pipeline: str, step: str) -> StepMetrics:
        """The counters of a step."""

    def events(self, stream: str) -> Count:
        """Counts events read by a stream."""

    def finished(self, pipeline: str) -> CountFinished:
        """Counts events that a pipeline is done with."""


class Metrics:
    """All metrics of one relay, in a registry of its own; their labels are bounded by the config.

    `streams` tells how the streams are, whenever Prometheus asks; it may be set later. `changed` is how many events are
    done with.
    """

    def __init__(self, version: str, streams: Callable[[], Iterable[StreamStatus]] = lambda: ()) -> None:
        # Imported here, since the command line has no use for it and it takes longer than all of MESS.
        import prometheus_client as prometheus

        from mess.telemetry.collector import StreamCollector, TallyCollector

        self.streams = streams
        self.changed = 0
        self._registry = registry = prometheus.CollectorRegistry()
        self._render = prometheus.generate_latest
        self._tallies = TallyCollector()
        registry.register(self._tallies)
        prometheus.Info("mess_build", "The relay's version.", registry=registry).info({"version": version})
        prometheus.ProcessCollector(registry=registry)
        registry.register(StreamCollector(lambda: self.streams()))

    def step(self, pipeline: str, step: str) -> StepMetrics:
        """The counters of a step."""
        return StepMetrics(
            lambda outcome: self._tallies.counter("mess_deliveries", pipeline, step, outcome),
            self._tallies.counter("mess_retries", pipeline, step),
            self._tallies.counter("mess_dead_letters", pipeline, step),
            self._tallies.timing("mess_step_seconds", pipeline, step),
        )

    def events(self, stream: str) -> Count:
        """Counts events read by a stream."""
        return self._tallies.counter("mess_events", stream)

    def finished(self, pipeline: str) -> CountFinished:
        """Counts events that have gone through all of a pipeline."""
        count = self._tallies.counter("mess_events_done", pipeline)

        def finished(events: Sequence[Event], delivered: bool) -> None:
            if delivered:
                self.changed += len(events)
                count(len(events))

        return finished

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, see `CONTENT_TYPE`."""
        return self._render(self._registry)


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `Metrics.render` gives."""
