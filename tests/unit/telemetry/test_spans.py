"""Tracing never stops a delivery, and tells what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from mess.errors import BatchError, EndpointDown, Refused, Response
from mess.event import Event
from mess.telemetry import attempts
from mess.telemetry.spans import Spans
from tests.collector import Collector
from tests.unit.fakes import make_events


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    sdk = logging.getLogger("opentelemetry")
    before = sdk.propagate, list(sdk.handlers)
    yield
    sdk.propagate, sdk.handlers = before


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that the environment names."""
    async with Collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        yield found


def about(events: Sequence[Event]) -> dict[str, str | int]:
    return {"http.request.method": "PUT"}


@pytest.mark.parametrize(
    ("failure", "attributes"),
    [
        (None, {"mess.outcome": "delivered"}),
        (EndpointDown("no"), {"mess.outcome": "down", "error.type": "EndpointDown"}),
        (
            Refused("no", response=Response(422)),
            {"mess.outcome": "refused", "error.type": "422", "http.response.status_code": 422},
        ),
        (ZeroDivisionError("no"), {"mess.outcome": "ambiguous", "error.type": "ZeroDivisionError"}),
        (
            BatchError({1: Refused("no"), 2: Refused("no")}),
            {"mess.outcome": "partial", "mess.event.failed": 2, "error.type": "Refused"},
        ),
        (asyncio.CancelledError(), {"mess.outcome": "cancelled"}),
    ],
)
async def test_what_became_of_it(
    collector: Collector, failure: BaseException | None, attributes: dict[str, Any]
) -> None:
    """In the words of the metrics; the failure itself goes on to the pipeline."""
    events = make_events(3)

    async def process(given: Sequence[Event]) -> Sequence[Event]:
        attempt = attempts.current.get()
        assert attempt is not None
        assert "traceparent" in attempt.headers
        if failure is not None:
            raise failure
        return given

    spans = Spans("mess", "1.2.3")
    traced = spans.traced(process, about, pipeline="shop", step="http")
    if failure is None:
        assert await traced(events) is events
    else:
        with pytest.raises(type(failure)) as raised:
            await traced(events)
        assert raised.value is failure
    assert attempts.current.get() is None
    await spans.stop()
    [span] = collector.spans
    assert span.attributes == {
        "http.request.method": "PUT",
        "mess.pipeline": "shop",
        "mess.step": "http",
        "mess.event.count": 3,
        "mess.event.ids": [event.id for event in events],
        **attributes,
    }
    assert span.resource["service.version"] == "1.2.3"
    assert span.resource["deployment.environment.name"] == "test"


async def test_a_sink_that_cannot_be_described_is_delivered_to(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of an installed package may raise anything. That is logged once."""

    def raises(events: Sequence[Event]) -> dict[str, str | int]:
        raise ZeroDivisionError("a bug")

    async def process(given: Sequence[Event]) -> Sequence[Event]:
        return given

    spans = Spans("mess", "1.2.3")
    traced = spans.traced(process, raises, pipeline="shop", step="mine")
    events = make_events(1)
    for _ in range(3):
        assert await traced(events) is events
    await spans.stop()
    assert capsys.readouterr().out.count("could not be traced") == 1
    assert not collector.spans
