"""OpenTelemetry spans: one for each delivery attempt of a sink. Import this only if deliveries are traced."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode

from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, Refused
from mess.event import Event
from mess.telemetry.attempts import Attempt, current
from mess.telemetry.logging import get_logger
from mess.telemetry.quiet_exporter import QuietExporter
from mess.telemetry.redact import compact, redact

log = get_logger("mess.tracing")

MAX_IDS = 20
"""How many events of an attempt are named by their ids."""
_STOP_SECONDS = 2.0
_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (EndpointDown, "down"),
    (Refused, "refused"),
    (Ambiguous, "ambiguous"),
    (BatchError, "partial"),
)

Process = Callable[[Sequence[Event]], Awaitable[Sequence[Event]]]
"""A step's `process`."""
Describe = Callable[[Sequence[Event]], Mapping[str, str | int]]
"""Returns a delivery's attributes in OpenTelemetry's semantic conventions."""


class Spans:
    """Exports spans as the standard `OTEL_…` variables say. Each is the root of a trace of its own."""

    def __init__(self, relay: str, version: str) -> None:
        self._exporter = QuietExporter(OTLPSpanExporter())
        resource = Resource.create({"service.version": version, "mess.relay": redact(relay)})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "mess"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("mess", version)
        self._complained = False

    def traced(self, process: Process, describe: Describe, *, pipeline: str, step: str) -> Process:
        """The same `process` of a sink, with a span for each call."""
        attributes = {"mess.pipeline": pipeline, "mess.step": step}

        async def traced(events: Sequence[Event]) -> Sequence[Event]:
            try:
                span = self._begin(events, {**attributes, **describe(events)})
                attempt = Attempt()
                propagate.inject(attempt.headers, trace.set_span_in_context(span, Context()))
            except Exception as error:  # tracing must not stop deliveries
                self._complain(error)
                return await process(events)
            before = current.set(attempt)
            failure: BaseException | None = None
            try:
                return await process(events)
            except BaseException as error:
                failure = error
                raise
            finally:
                current.reset(before)
                self._end(span, attempt, failure)

        return traced

    async def stop(self) -> None:
        """Export what is left, for at most 2 seconds."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="mess-tracing-stop", daemon=True).start()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await done.wait()
        except TimeoutError:
            self._exporter.shutdown()

    def _begin(self, events: Sequence[Event], attributes: Mapping[str, str | int]) -> Span:
        messaging = "messaging.system" in attributes
        method, destination = attributes.get("http.request.method"), attributes.get("messaging.destination.name")
        name = f"send {destination}" if destination else str(method or "send")
        span = self._tracer.start_span(
            redact(name),
            context=Context(),
            kind=SpanKind.PRODUCER if messaging else SpanKind.CLIENT,
            attributes={key: _clean(value) for key, value in attributes.items()},
        )
        if span.is_recording():
            span.set_attribute("mess.event.count", len(events))
            span.set_attribute("mess.event.ids", [event.id for event in events[:MAX_IDS]])
            if messaging and len(events) == 1:
                span.set_attribute("messaging.message.id", events[0].id)
            elif messaging:
                span.set_attribute("messaging.batch.message_count", len(events))
        return span

    def _end(self, span: Span, attempt: Attempt, failure: BaseException | None) -> None:
        try:
            for key, value in attempt.attributes.items():
                span.set_attribute(key, _clean(value))
            if failure is None:
                span.set_attribute("mess.outcome", "delivered")
            else:
                self._fail(span, failure)
            span.end()
        except Exception as error:  # tracing must not stop deliveries
            self._complain(error)

    def _fail(self, span: Span, failure: BaseException) -> None:
        if not isinstance(failure, Exception):
            span.set_attribute("mess.outcome", "cancelled")
            return
        cause = next(iter(failure.errors.values())) if isinstance(failure, BatchError) else failure
        outcome = next((word for kind, word in _OUTCOMES if isinstance(failure, kind)), "ambiguous")
        status = cause.response.status if isinstance(cause, DeliveryError) and cause.response else None
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if isinstance(failure, BatchError):
            span.set_attribute("mess.event.failed", len(failure.errors))
        span.set_attribute("mess.outcome", outcome)
        span.set_attribute("error.type", type(cause).__qualname__ if status is None else str(status))
        span.set_status(StatusCode.ERROR, compact(cause))

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning("a delivery could not be traced; further failures are not logged", error=error)


def _clean(value: str | int) -> str | int:
    return redact(value) if isinstance(value, str) else value
