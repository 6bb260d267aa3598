"""What Prometheus gets to see."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone

from bson import Timestamp
from prometheus_client.parser import text_string_to_metric_families

from mess.errors import Ambiguous, EndpointDown, Refused
from mess.telemetry.metrics import RENAMED, Metrics
from mess.telemetry.snapshot import KafkaStatus, LeaseStatus, PipelineStatus, Snapshot, StepStatus, StreamStatus
from tests.unit.fakes import make_event, make_events, make_read

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
    assert value(metrics, "mess_dead_letters_stored_total", **labels) == 6
    assert value(metrics, "mess_deliveries_total", pipeline="crm", step="http", outcome="delivered") == 1


def test_series_are_there_before_anything_happens() -> None:
    """Or an alert on their rate would miss the first event."""
    metrics = Metrics("1.0")
    metrics.step("shop", "http")
    assert value(metrics, "mess_dead_letters_stored_total", pipeline="shop", step="http") == 0
    assert value(metrics, "mess_deliveries_total", pipeline="shop", step="http", outcome="refused") == 0


def test_how_long_steps_take() -> None:
    """Per mini-batch, in seconds."""
    metrics = Metrics("1.0")
    step = metrics.step("shop", "http")
    for seconds in (0.002, 0.2, 40.0):
        step.attempted(make_events(1), seconds)
    labels = {"pipeline": "shop", "step": "http"}
    assert value(metrics, "mess_step_duration_seconds_count", **labels) == 3
    assert value(metrics, "mess_step_duration_seconds_sum", **labels) == 40.202
    assert value(metrics, "mess_step_duration_seconds_bucket", le="0.25", **labels) == 2


def test_events_read_and_done() -> None:
    """By stream and by pipeline; all that went through are the count that the admin server shows."""
    metrics = Metrics("1.0")
    metrics.stream("shop").read(make_events(3))
    metrics.pipeline("a").finished(make_events(2), delivered=True)
    metrics.pipeline("b").finished(make_events(1), delivered=True)
    metrics.pipeline("b").finished(make_events(1), delivered=False)
    assert metrics.changed == 3
    assert value(metrics, "mess_events_read_total", stream="shop") == 3
    assert value(metrics, "mess_events_done_total", pipeline="a") == 2


def test_the_relay_is_asked_once_for_each_scrape() -> None:
    """Not before, and what is unknown is absent."""
    asked = []

    def snapshot() -> Snapshot:
        asked.append(1)
        return Snapshot(
            ready=True,
            streams=[
                StreamStatus("shop", True, None, 0.5, 10, 2000, 1.5, headroom=3600.0, paused=True),
                StreamStatus("crm", False, "MongoDB does not answer", None, 0, 0, None),
            ],
            pipelines=[PipelineStatus("shop", 7, 700, 2.5), PipelineStatus("crm", 0, 0, None)],
            steps=[StepStatus("shop", "http", True, paused=True), StepStatus("crm", "http", False)],
            gaps={"history_lost": 1},
            backfills={"failed": 2},
            dead_letters={("shop", "http"): 3},
            oplog_window=7200.0,
        )

    metrics = Metrics("1.0", snapshot)
    assert not asked
    found = samples(metrics)
    assert asked == [1]

    def gauge(name: str, **labels: str) -> float | None:
        return found.get((name, frozenset(labels.items())))

    assert gauge("mess_ready") == 1
    assert gauge("mess_stream_connected", stream="shop") == 1
    assert gauge("mess_stream_connected", stream="crm") == 0
    assert gauge("mess_stream_lag_seconds", stream="shop") == 0.5
    assert gauge("mess_stream_lag_seconds", stream="crm") is None
    assert gauge("mess_oplog_headroom_seconds", stream="shop") == 3600
    assert gauge("mess_oplog_window_seconds") == 7200
    assert gauge("mess_window_events", stream="shop") == 10
    assert gauge("mess_window_bytes", stream="shop") == 2000
    assert gauge("mess_checkpoint_age_seconds", stream="shop") == 1.5
    assert gauge("mess_pipeline_waiting_events", pipeline="shop") == 7
    assert gauge("mess_pipeline_waiting_bytes", pipeline="shop") == 700
    assert gauge("mess_pipeline_lag_seconds", pipeline="shop") == 2.5
    assert gauge("mess_pipeline_lag_seconds", pipeline="crm") is None
    assert gauge("mess_step_up", pipeline="shop", step="http") == 1
    assert gauge("mess_step_up", pipeline="crm", step="http") == 0
    assert [gauge("mess_step_paused", pipeline=name, step="http") for name in ("shop", "crm")] == [1, 0]
    assert [gauge("mess_stream_paused", stream=name) for name in ("shop", "crm")] == [1, 0]
    assert gauge("mess_dead_letters", pipeline="shop", step="http") == 3
    assert gauge("mess_backfills", state="failed") == 2
    assert gauge("mess_gaps", kind="history_lost") == 1


def test_what_the_store_holds_is_absent_until_it_is_known() -> None:
    """A zero would end an alert after every restart."""
    names = {name for name, _ in samples(Metrics("1.0"))}
    assert not names & {"mess_dead_letters", "mess_backfills", "mess_oplog_window_seconds"}


def test_names_may_contain_any_character() -> None:
    """Database names come from the config, and a quotation mark must not end a label."""
    name = 'a "b" \\n c\nd {e}, ☃'
    metrics = Metrics("1.0", lambda: Snapshot(pipelines=[PipelineStatus(name, 7, 0, None)]))
    metrics.pipeline(name).finished(make_events(3), delivered=True)
    metrics.step(name, "http").attempted(make_events(1), 0.2)
    assert value(metrics, "mess_events_done_total", pipeline=name) == 3
    assert value(metrics, "mess_pipeline_waiting_events", pipeline=name) == 7
    assert value(metrics, "mess_step_duration_seconds_bucket", pipeline=name, step="http", le="0.25") == 1
    metrics.stream("\ud800")  # a lone surrogate
    assert value(metrics, "mess_events_read_total", stream="?") == 0


def test_old_names_have_the_same_values() -> None:
    """For one release, so that dashboards and alerts can move."""
    metrics = Metrics("1.0", lambda: Snapshot(streams=[StreamStatus("shop", True, None, 0.5, 0, 0, 1.5)]))
    metrics.stream("shop").read(make_events(3))
    step = metrics.step("shop", "http")
    step.given_up(make_events(2), Refused("no"), stored=True)
    step.attempted(make_events(1), 0.2)
    found = samples(metrics)
    for new, old in RENAMED.items():
        of_new = {(name.removeprefix(new), labels): value for (name, labels), value in found.items() if _of(new, name)}
        of_old = {(name.removeprefix(old), labels): value for (name, labels), value in found.items() if _of(old, name)}
        assert of_new
        assert of_new == of_old
    assert "# HELP mess_events_total Deprecated: use mess_events_read_total." in metrics.render().decode()


def _of(metric: str, sample: str) -> bool:
    return sample.removeprefix(metric) in ("", "_total", "_bucket", "_sum", "_count")


def test_how_old_delivered_changes_are() -> None:
    """From the commit, by the server's clock, for each event; before MongoDB 6.0 from the second of the commit."""
    committed = datetime(2026, 11, 28, 12, 0, 0, 250_000)
    now = committed.replace(tzinfo=timezone.utc).timestamp() + 0.2
    metrics = Metrics("1.0", now=lambda: now)
    pipeline = metrics.pipeline("shop")
    pipeline.finished(make_events(2, wallTime=committed), delivered=True)
    pipeline.finished(make_events(9, wallTime=committed), delivered=False)
    old = make_event()
    old.change["clusterTime"] = Timestamp(int(now - 50), 1)
    pipeline.finished([old], delivered=True)
    of_later = make_event(wallTime=committed + timedelta(seconds=1))  # clocks are never quite right
    pipeline.finished([of_later], delivered=True)
    pipeline.finished([make_read()], delivered=True)  # an existing document was committed at any time before
    name = "mess_commit_to_delivery_seconds"
    assert value(metrics, f"{name}_count", pipeline="shop") == 4
    assert value(metrics, f"{name}_bucket", pipeline="shop", le="0.005") == 1
    assert value(metrics, f"{name}_bucket", pipeline="shop", le="0.1") == 1
    assert value(metrics, f"{name}_bucket", pipeline="shop", le="0.25") == 3
    assert value(metrics, f"{name}_bucket", pipeline="shop", le="60.0") == 4
    total = value(metrics, f"{name}_sum", pipeline="shop")
    assert total is not None
    assert 50.3 < total < 51.5


def test_relays_in_one_process_do_not_mix() -> None:
    """Each has a registry of its own."""
    one, other = Metrics("1.0"), Metrics("1.0")
    one.stream("shop").read(make_events(1))
    other.stream("shop").read(make_events(5))
    assert value(one, "mess_events_read_total", stream="shop") == 1


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


def test_which_process_is_active() -> None:
    """By the relay's name, since several may share a scrape job; a standby has no epoch and no lease."""
    active = Metrics("1.0", lambda: Snapshot(lease=LeaseStatus("shop", active=True, epoch=7, left=12.5)))
    assert value(active, "mess_active", relay="shop") == 1
    assert value(active, "mess_lease_epoch", relay="shop") == 7
    assert value(active, "mess_lease_remaining_seconds", relay="shop") == 12.5
    standby = Metrics("1.0", lambda: Snapshot(lease=LeaseStatus("shop", active=False, epoch=None, left=None)))
    names = {name for name, _ in samples(standby)}
    assert value(standby, "mess_active", relay="shop") == 0
    assert not names & {"mess_lease_epoch", "mess_lease_remaining_seconds"}
    assert "mess_active" not in {name for name, _ in samples(Metrics("1.0"))}


def test_a_members_share_of_its_group() -> None:
    """The lag of each partition, as far as it is known."""
    kafka = KafkaStatus("webhooks", {("shop", "3"): 120, ("shop", "4"): None}, 3, rebalances=2, heartbeat_age=0.5)
    metrics = Metrics("1.0", lambda: Snapshot(kafka=kafka))
    assert value(metrics, "mess_kafka_lag", group="webhooks", topic="shop", partition="3") == 120
    assert value(metrics, "mess_kafka_lag", group="webhooks", topic="shop", partition="4") is None
    assert value(metrics, "mess_kafka_assigned_partitions", group="webhooks") == 2
    assert value(metrics, "mess_kafka_members", group="webhooks") == 3
    assert value(metrics, "mess_kafka_rebalances_total", group="webhooks") == 2
    assert "# TYPE mess_kafka_rebalances_total counter" in metrics.render().decode()
    assert value(metrics, "mess_kafka_heartbeat_age_seconds", group="webhooks") == 0.5
