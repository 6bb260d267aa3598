"""What Prometheus gets to see."""

from __future__ import annotations

import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from mess.errors import Ambiguous, EndpointDown, Refused
from mess.telemetry.metrics import Metrics, StreamStatus
from tests.unit.fakes import make_events

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(metrics: Metrics) -> dict[Sample, float]:
    """All samples by name and labels, as Prometheus' own parser reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample's value; None when there is none."""
    return samples(metrics).get((name, frozenset(labels.items())))


def test_a_steps_counters() -> None:
    """By pipeline, step and outcome."""
    metrics = Metrics("1.0")
    step = metrics.step("shop", "http")
    other = metrics.step("crm", "http")
    outcomes = {"delivered": 500, "refused": 1, "down": 2, "ambiguous": 3, "dropped": 4, "passed_over": 5}
    refused = Refused("no")
    for _ in range(2):
        step.delivered(make_events(500))
        step.failed(make_events(1), refused)
        step.failed(make_events(2), EndpointDown("no"))
        step.failed(make_events(3), Ambiguous("no"))
        step.dropped(4)
        step.bypassed(5)
    step.retried(make_events(5))
    step.given_up(make_events(6), refused, stored=True)
    step.given_up(make_events(7), refused, stored=False)
    other.delivered(make_events(1))
    labels = {"pipeline": "shop", "step": "http"}
    for outcome, count in outcomes.items():
        assert value(metrics, "mess_deliveries_total", outcome=outcome, **labels) == 2 * count
    assert value(metrics, "mess_retries_total", **labels) == 5
    assert value(metrics, "mess_dead_letters_total", **labels) == 6
    assert value(metrics, "mess_deliveries_total", pipeline="crm", step="http", outcome="delivered") == 1


def test_series_are_there_before_anything_happens() -> None:
    """Or an alert on their rate would miss the first event."""
    metrics = Metrics("1.0")
    metrics.step("shop", "http")
    assert value(metrics, "mess_dead_letters_total", pipeline="shop", step="http") == 0
    assert value(metrics, "mess_deliveries_total", pipeline="shop", step="http", outcome="refused") == 0


def test_how_long_steps_take() -> None:
    """Per mini-batch, in seconds."""
    metrics = Metrics("1.0")
    step = metrics.step("shop", "http")
    for seconds in (0.002, 0.2, 40.0):
        step.attempted(make_events(1), seconds)
    labels = {"pipeline": "shop", "step": "http"}
    assert value(metrics, "mess_step_seconds_count", **labels) == 3
    assert value(metrics, "mess_step_seconds_sum", **labels) == 40.202
    assert value(metrics, "mess_step_seconds_bucket", le="0.25", **labels) == 2


def test_events_read_and_done() -> None:
    """By stream and by pipeline; all that went through are the count that the admin server shows."""
    metrics = Metrics("1.0")
    metrics.stream("shop").read(make_events(3))
    metrics.pipeline("a").finished(make_events(2), delivered=True)
    metrics.pipeline("b").finished(make_events(1), delivered=True)
    metrics.pipeline("b").finished(make_events(1), delivered=False)
    assert metrics.changed == 3
    assert value(metrics, "mess_events_total", stream="shop") == 3
    assert value(metrics, "mess_events_done_total", pipeline="a") == 2


def test_streams_are_asked_when_prometheus_asks() -> None:
    """Every time, and what is not known is left out."""
    asked = []

    def streams() -> list[StreamStatus]:
        asked.append(1)
        return [
            StreamStatus("shop", True, None, 0.5, 10, 2000, 1.5),
            StreamStatus("crm", False, "MongoDB does not answer", None, 0, 0, None),
        ]

    metrics = Metrics("1.0", streams)
    assert not asked
    assert value(metrics, "mess_stream_connected", stream="shop") == 1
    assert value(metrics, "mess_stream_connected", stream="crm") == 0
    assert value(metrics, "mess_lag_seconds", stream="shop") == 0.5
    assert value(metrics, "mess_lag_seconds", stream="crm") is None
    assert value(metrics, "mess_window_events", stream="shop") == 10
    assert value(metrics, "mess_window_bytes", stream="shop") == 2000
    assert value(metrics, "mess_checkpoint_age_seconds", stream="shop") == 1.5
    assert len(asked) == 7
    metrics.streams = tuple
    assert value(metrics, "mess_stream_connected", stream="shop") is None


def test_relays_in_one_process_do_not_mix() -> None:
    """Each has a registry of its own."""
    one, other = Metrics("1.0"), Metrics("1.0")
    one.stream("shop").read(make_events(1))
    other.stream("shop").read(make_events(5))
    assert value(one, "mess_events_total", stream="shop") == 1


def test_the_build_and_the_process() -> None:
    """Which version, and what it uses."""
    metrics = Metrics("1.2.3")
    assert value(metrics, "mess_build_info", version="1.2.3") == 1
    if sys.platform == "linux":
        assert (value(metrics, "process_resident_memory_bytes") or 0) > 1e6


def test_the_command_line_does_not_load_prometheus() -> None:
    """It takes longer to import than all else."""
    code = "import sys, mess.telemetry.metrics, mess.telemetry.logging; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"
