"""Gauges that are worked out when Prometheus asks, not while events flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mess.telemetry.metrics import StreamStatus

_GAUGES: tuple[tuple[str, str, Callable[[StreamStatus], float | None]], ...] = (
    ("mess_stream_connected", "Whether the stream is connected.", lambda stream: float(stream.connected)),
    ("mess_lag_seconds", "Now minus the cluster time of the newest event done.", lambda stream: stream.lag),
    ("mess_window_events", "Events in flight.", lambda stream: stream.window_events),
    ("mess_window_bytes", "Bytes of BSON in flight.", lambda stream: stream.window_bytes),
    ("mess_checkpoint_age_seconds", "How long ago progress was stored.", lambda stream: stream.checkpoint_age),
)


class StreamCollector(Collector):
    """Asks how the streams are, at each scrape."""

    def __init__(self, streams: Callable[[], Iterable[StreamStatus]]) -> None:
        self._streams = streams

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The gauges' names; without this the registry would scrape once to learn them."""
        return [GaugeMetricFamily(name, text, labels=["stream"]) for name, text, _ in _GAUGES]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges' values; a stream whose value is unknown is left out."""
        streams = list(self._streams())
        for name, text, value_of in _GAUGES:
            family = GaugeMetricFamily(name, text, labels=["stream"])
            for stream in streams:
                value = value_of(stream)
                if value is not None:
                    family.add_metric([stream.name], value)
            yield family
