"""The dashboard and the alert rules in deploy/ fit the metrics, Prometheus, Grafana and the runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from mess.telemetry.metrics import Metrics
from tests.conftest import servers_needed
from tests.servers.prometheus import promtool
from tests.unit.docs.test_docs import anchors

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
NOT_IN_THE_SDK = {"definition", "builtIn", "titleFormat"}
"""What Grafana's SDK leaves out, although Grafana writes it."""


def series() -> set[str]:
    """The names of all series that a relay shows under names that last."""
    metrics = Metrics("0")
    metrics.step("shop", "http")
    metrics.stream("shop")
    metrics.pipeline("shop")
    found = set()
    for name, text in re.findall(r"^# HELP (\w+) (.*)$", metrics.render().decode(), re.MULTILINE):
        if not text.startswith("Deprecated"):
            found |= {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return found


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """The dashboard's queries, each with what asks it."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]


# The dashboard


def test_the_dashboard_shows_metrics_that_exist() -> None:
    """A renamed metric does not leave an empty panel."""
    texts = [text for _, text in queries()]
    texts += [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    used = {name for text in texts for name in re.findall(r"\b(?:mess|process)_\w+", text)}
    assert used
    assert used <= series()


def test_the_dashboard_has_what_operators_look_for() -> None:
    """Every gauge about the health of a relay is on it."""
    text = " ".join(text for _, text in queries())
    for name in (
        "mess_ready",
        "mess_stream_lag_seconds",
        "mess_pipeline_lag_seconds",
        "mess_events_done_total",
        "mess_pipeline_waiting_events",
        "mess_pipeline_waiting_bytes",
        "mess_step_duration_seconds_bucket",
        "mess_commit_to_delivery_seconds_bucket",
        "mess_deliveries_total",
        "mess_dead_letters",
        "mess_step_up",
        "mess_oplog_headroom_seconds",
        "mess_backfills",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ):
        assert name in text


def test_prometheus_understands_the_dashboards_queries(tmp_path: Path) -> None:
    """Each is a valid expression once Grafana has filled in its variables."""
    rules = []
    for number, (_, expression) in enumerate(queries()):
        filled = expression.replace("$__rate_interval", "5m").replace("$__interval", "1m")
        rules.append({"record": f"dashboard:{number}", "expr": filled})
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    with servers_needed():
        promtool("check", "rules", file)


def test_the_dashboard_fits_grafanas_schema() -> None:
    """Nothing is lost on the way through the types that Grafana generates from its schema."""
    register_default_plugins()
    known = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))
    assert list(_lost({**DASHBOARD, "id": 1}, {**known, "id": 1})) == []


def _lost(given: Any, known: Any, path: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name in known:
                yield from _lost(value, known[name], f"{path}/{name}")
            elif name not in NOT_IN_THE_SDK:
                yield f"{path}/{name}"
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for number, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from _lost(one, other, f"{path}/{number}")
    elif given != known:
        yield path


def test_the_schemas_check_finds_mistakes() -> None:
    """Otherwise the test before would find nothing."""
    register_default_plugins()
    panel = {"type": "stat", "title": "x", "optoins": {}}
    known = json.loads(json.dumps(Dashboard.from_json({"panels": [panel]}), cls=JSONEncoder))
    assert list(_lost({"panels": [panel]}, known)) == ["/panels/0/optoins"]


def test_panels_stand_beside_each_other() -> None:
    """Each has an id and a title of its own within its row, fits the grid of 24 columns, and covers no other."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = []
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.append((place["x"], place["y"], place["x"] + place["w"], place["y"] + place["h"]))
    for (left, top, right, bottom), (x, y, x2, y2) in combinations(places, 2):
        assert right <= x or x2 <= left or bottom <= y or y2 <= top


def test_everyone_can_import_the_dashboard() -> None:
    """It names no data source of one Grafana, and every panel says what it shows."""
    assert DASHBOARD["id"] is None
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


# The alert rules


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    """What fires when, with which text, is in alerts.test.yml."""
    with servers_needed():
        promtool("check", "rules", RULES)
        promtool("test", "rules", RULES.with_name("alerts.test.yml"))


def test_every_alert_is_tested() -> None:
    """One that never fires in a test may never fire at all."""
    tests = yaml.safe_load(RULES.with_name("alerts.test.yml").read_text())["tests"]
    fired = {rule["alertname"] for test in tests for rule in test.get("alert_rule_test", ()) if rule["exp_alerts"]}
    assert {alert["alert"] for alert in ALERTS} == fired


def test_alerts_use_metrics_that_exist() -> None:
    for alert in ALERTS:
        used = set(re.findall(r"\bmess_\w+", alert["expr"]))
        assert used <= series()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_leads_to_the_runbook(alert: dict[str, Any]) -> None:
    """Whoever is called at night finds the section that says what to do, and the alert in both tables."""
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / file)
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    for page in ("runbook.md", "operations.md"):
        assert f"`{alert['alert']}`" in (ROOT / "docs" / page).read_text()


def test_the_docs_name_no_alert_that_does_not_exist() -> None:
    names = {alert["alert"] for alert in ALERTS}
    for page in ("runbook.md", "operations.md"):
        assert set(re.findall(r"`(Mess[A-Z]\w+)`", (ROOT / "docs" / page).read_text())) <= names
