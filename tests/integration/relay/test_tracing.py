"""Deliveries as OpenTelemetry spans, which a collector receives over OTLP/HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mess import Relay
from mess.demo.ports import free_port
from mess.telemetry.tracing import is_wanted
from tests.collector import Collector, Span
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.servers.redis import RedisServer
from tests.waiting import until

CLIENT, PRODUCER = 3, 4  # of the protocol's SpanKind


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that the environment names."""
    async with Collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield found


@pytest.fixture(autouse=True)
def _logging_as_before() -> Any:
    sdk = logging.getLogger("opentelemetry")
    before = sdk.propagate, list(sdk.handlers)
    yield
    sdk.propagate, sdk.handlers = before


async def test_every_attempt_of_a_webhook_is_a_span_that_the_endpoint_can_continue(
    lab: Lab, collector: Collector
) -> None:
    """Failed ones too, each with the trace context that its request carried."""
    lab.receiver.script.append(Answer(500, body=b"a bug"))
    async with lab.running():
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        failed, delivered = await collector.wait_for(2)
    for request, span in zip(lab.receiver.requests, (failed, delivered), strict=True):
        assert span.is_parent_in(request.headers["traceparent"])
    assert failed.trace != delivered.trace
    for span in (failed, delivered):
        assert (span.name, span.kind, span.parent) == ("POST", CLIENT, "")
        assert span.resource["service.name"] == "mess"
        assert span.resource["mess.relay"] == lab.db.name
        assert 0 < span.seconds < 20
        expected = {
            "http.request.method": "POST",
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "server.port": lab.receiver.port,
            "mess.pipeline": "top level",
            "mess.step": "http",
            "mess.event.count": 1,
            "mess.event.ids": [lab.receiver.accepted[0].id],
        }
        assert span.attributes.items() >= expected.items()
    assert _outcome(failed) == ("ambiguous", 500, "500")
    assert failed.error is not None
    assert "a bug" in failed.error
    assert _outcome(delivered) == ("delivered", 200, None)
    assert delivered.error is None


def _outcome(span: Span) -> tuple[Any, Any, Any]:
    names = ("mess.outcome", "http.response.status_code", "error.type")
    outcome, status, error = (span.attributes.get(name) for name in names)
    return outcome, status, error


async def test_a_batch_is_one_span(lab: Lab, collector: Collector) -> None:
    """It names the first twenty events."""
    http = {**lab.http, "config": {"endpoint": lab.receiver.url, "batch": {"max_events": 500}}, "concurrency": 1}
    lab.receiver.answer = Answer(delay=0.2)
    async with lab.running(pipeline=[http]):
        lab.db.orders.insert_many([{"_id": number} for number in range(100)])
        await lab.receiver.wait_for_events(100)
        await until(lambda: _events_of(collector) >= 100, "all spans")
    assert len(collector.spans) == len(lab.receiver.requests) < 50
    for span in collector.spans:
        assert len(span.attributes["mess.event.ids"]) == min(20, span.attributes["mess.event.count"])
    headers = [request.headers["traceparent"] for request in lab.receiver.requests]
    assert all(any(span.is_parent_in(header) for span in collector.spans) for header in headers)
    assert len(set(headers)) == len(headers)


def _events_of(collector: Collector) -> int:
    return sum(span.attributes["mess.event.count"] for span in collector.spans)


async def test_messages_carry_the_trace_context(lab: Lab, collector: Collector, redis_server: RedisServer) -> None:
    """As a header of each message, or what a broker has for it."""
    queue = {"name": "queue", "config": {"url": redis_server.url, "target": "orders"}}
    async with lab.running(pipeline=[queue]):
        lab.db.orders.insert_one({"_id": 1})
        [span] = await collector.wait_for(1)
    with redis_server.client() as client:
        found: Any = client.xrange("orders")
        [(_, fields)] = found
    assert span.is_parent_in(fields[b"traceparent"].decode())
    assert (span.name, span.kind) == ("send orders", PRODUCER)
    assert span.attributes["messaging.system"] == "redis"
    assert span.attributes["messaging.destination.name"] == "orders"
    assert span.attributes["messaging.message.id"] == fields[b"id"].decode()
    assert span.attributes["server.port"] == redis_server.port
    assert span.attributes["mess.outcome"] == "delivered"


async def test_spans_contain_no_secrets(lab: Lab, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the endpoint's path nor what an answer repeats."""
    lab.receiver.script.append(Answer(500, body=b"wrong token: whsec-very-secret"))
    endpoint = f"{lab.receiver.url}/whsec-very-secret?token=whsec-very-secret"
    relay = Relay.from_config(
        lab.write(
            f"name: {lab.db.name}\n"
            f"mongodb: {{url: '{lab.url}'}}\n"
            f"state: {{database: {lab.db.name}-state}}\n"
            f"databases: {{{lab.db.name}: {{}}}}\n"
            "admin: {port: 0}\n"
            "pipeline: [{name: http, config: {endpoint: '${ENDPOINT}', headers: {x-api-key: '${KEY}'}},"
            " retry: {first: 10ms}}]\n"
        ),
        environ={"ENDPOINT": endpoint, "KEY": "whsec-very-secret"},
    )
    async with lab.running(relay):
        lab.db.orders.insert_one({"_id": 1})
        failed, _ = await collector.wait_for(2)
    assert failed.error is not None
    assert "wrong token: ***" in failed.error
    assert not any(b"very-secret" in request for request in collector.requests)


async def test_the_exporters_failures_do_not_disturb_deliveries(
    lab: Lab, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are one line of the log, not one each; and another when it is over."""
    collector.status = 400
    async with lab.running():
        for number in range(5):
            lab.db.orders.insert_one({"_id": number})
            await lab.receiver.wait_for_events(number + 1)
            await until(lambda number=number: len(collector.requests) > number, "an attempt to export")
        collector.status = 200
        lab.db.orders.insert_one({"_id": 5})
        await collector.wait_for(1)
    out = capsys.readouterr().out
    assert out.count("traces cannot be exported") == 1
    assert out.count("traces are exported again") == 1
    assert "opentelemetry" not in out


async def test_a_collector_that_is_away_delays_neither_deliveries_nor_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be exported within two seconds of the end is lost."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    async with lab.running():
        lab.db.orders.insert_many([{"_id": number} for number in range(20)])
        await lab.receiver.wait_for_events(20)
        began = time.monotonic()
    assert time.monotonic() - began < 6


async def test_the_config_can_turn_it_off(lab: Lab, collector: Collector) -> None:
    async with lab.running(tracing={"enabled": False}):
        lab.db.orders.insert_one({"_id": 1})
        [request] = await lab.receiver.wait_for(1)
    assert "traceparent" not in request.headers
    assert not collector.requests


@pytest.mark.parametrize(
    ("enabled", "environ", "wanted"),
    [
        (None, {}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        (None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, False),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        (True, {}, True),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
        (True, {"OTEL_TRACES_EXPORTER": "none"}, False),
        (True, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_when_deliveries_are_traced(enabled: bool | None, environ: dict[str, str], wanted: bool) -> None:
    """As the config says, else if there is an endpoint; OpenTelemetry's own switches turn it off."""
    assert is_wanted(enabled, environ) is wanted


def test_without_tracing_opentelemetry_is_not_even_imported() -> None:
    """It costs neither time nor memory then."""
    code = (
        "import sys, mess.app, mess.relay.assembly, mess.steps.http.step, mess.steps.queue.step\n"
        "from mess.telemetry import tracing\n"
        "print(tracing.start('mess', '1', None), [name for name in sys.modules if 'opentelemetry' in name])"
    )
    environ = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "None []"


@pytest.mark.parametrize("enabled", [None, True])
def test_without_the_extra(enabled: bool | None) -> None:
    """The environment alone is no reason not to start; the config is."""
    code = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None\n"
        "from mess.errors import ConfigError\n"
        "from mess.telemetry import tracing\n"
        f"try: print(tracing.start('mess', '1', {enabled}))\n"
        "except ConfigError as error: print(error)\n"
    )
    environ = {"PYTHONPATH": ":".join(sys.path), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True, text=True)
    assert "pip install 'mess[otel]'" in done.stdout
    assert done.stdout.rstrip().endswith("None") is (enabled is None)
