"""What a running relay's metrics say, read as Prometheus reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mess import Relay
from mess.relay import stored_counts
from mess.state.store import Wanted
from tests.conftest import servers_needed
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.servers.prometheus import PrometheusServer, promtool
from tests.waiting import PATIENCE, until

RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "alerts.yml"
HTTP = {"pipeline": "top level", "step": "http"}


@pytest.fixture(autouse=True)
def _counts_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_counts, "_EVERY", 0.05)
    monkeypatch.setattr(stored_counts, "_TIMES", 0)


def value(relay: Relay, name: str, **labels: str) -> float | None:
    """A sample's value; None if there is none."""
    for family in text_string_to_metric_families(relay.status.metrics().decode()):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, labels):
                return sample.value
    return None


async def test_promtool_finds_nothing_wrong(lab: Lab) -> None:
    """Names, units and help texts follow Prometheus's conventions."""
    async with lab.running() as relay:
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        _, text = await lab.get(relay, "/metrics")
    with servers_needed():
        promtool("check", "metrics", text=text)


async def test_prometheus_scrapes_a_relay_and_evaluates_the_rules(lab: Lab) -> None:
    """As a server of its own does, with the rules of deploy/; nothing that is wrong with the relay has to wait for a
    rule that Prometheus cannot evaluate."""
    async with lab.running() as relay:
        assert relay.admin is not None
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        with servers_needed():
            server = PrometheusServer(relay.admin.url.removeprefix("http://"), rules=RULES)
        with server:
            await _eventually(server, "mess_ready", 1)
            await _eventually(server, "sum(mess_events_done_total)", 1)
            await _eventually(server, 'count(mess_commit_to_delivery_seconds_bucket{le="+Inf"})', 1)
            rules: list[dict[str, Any]] = []
            while not rules or any(rule["health"] == "unknown" for rule in rules):
                rules = await asyncio.to_thread(server.rules)
            assert {(rule["health"], rule.get("lastError")) for rule in rules} == {("ok", None)}
            assert await asyncio.to_thread(server.query, 'ALERTS{alertstate="firing"}') == []


async def _eventually(server: PrometheusServer, expression: str, value: float) -> None:
    async with asyncio.timeout(PATIENCE):
        found: list[float] = []
        while found != [value]:
            found = [number for _, number in await asyncio.to_thread(server.query, expression)]


async def test_what_waits_for_a_sink_that_is_down(lab: Lab) -> None:
    """The step is down and its pipeline lags, but the relay is ready; when the sink is back, nothing waits."""
    lab.receiver.answer = Answer(503)
    async with lab.running() as relay:
        documents = [{"_id": number, "text": "x" * 1000} for number in range(50)]
        lab.db.orders.insert_many(documents)
        await until(lambda: value(relay, "mess_pipeline_waiting_events", pipeline="top level") == 50, "the number")
        waiting = value(relay, "mess_pipeline_waiting_bytes", pipeline="top level")
        assert waiting is not None
        assert 50_000 < waiting < 200_000
        await until(lambda: value(relay, "mess_step_up", **HTTP) == 0, "the number")
        assert value(relay, "mess_ready") == 1
        lag = value(relay, "mess_pipeline_lag_seconds", pipeline="top level")
        assert lag is not None
        assert 0 <= lag < 60
        lab.receiver.answer = Answer()
        await lab.receiver.wait_for_events(50)
        await until(lambda: value(relay, "mess_pipeline_waiting_events", pipeline="top level") == 0, "the number")
        assert value(relay, "mess_step_up", **HTTP) == 1
        count = value(relay, "mess_commit_to_delivery_seconds_count", pipeline="top level")
        assert count == 50


async def test_dead_letters_are_those_that_are_stored(lab: Lab) -> None:
    """Also those of an earlier process, and no longer those that were discarded."""
    lab.receiver.answer = Answer(422)
    async with lab.running() as relay:
        await until(lambda: value(relay, "mess_dead_letters", **HTTP) == 0, "the number")
        lab.db.orders.insert_many([{"_id": number} for number in range(3)])
        await until(lambda: value(relay, "mess_dead_letters", **HTTP) == 3, "the number")
    async with lab.running() as relay:
        await until(lambda: value(relay, "mess_dead_letters", **HTTP) == 3, "the number")
        assert value(relay, "mess_dead_letters_stored_total", **HTTP) == 0
        assert relay.store is not None
        await relay.store.delete_dead_letters(Wanted())
        await until(lambda: value(relay, "mess_dead_letters", **HTTP) == 0, "the number")


async def test_backfills_by_state(lab: Lab) -> None:
    """One that is done stays counted as such."""
    lab.db.orders.insert_many([{"_id": number} for number in range(3)])
    async with lab.running(backfill="initial") as relay:
        await lab.receiver.wait_for_events(3)
        await until(lambda: value(relay, "mess_backfills", state="done") == 1, "the number")
        assert value(relay, "mess_backfills", state="running") == 0
