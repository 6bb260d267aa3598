"""An OpenTelemetry collector that takes spans over OTLP/HTTP, and keeps them."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import until


class Span:
    """A span as it arrived; `trace`, `id` and `parent` are hexadecimal, `error` is the message of a failed one."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace: str = span.trace_id.hex()
        self.id: str = span.span_id.hex()
        self.parent: str = span.parent_span_id.hex()
        self.attributes = _plain(span.attributes)
        self.resource = resource
        self.seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        self.error: str | None = span.status.message if span.status.code == 2 else None

    def is_parent_in(self, traceparent: str) -> bool:
        """Whether this header names the span as the caller, and says that it is recorded (W3C Trace Context)."""
        version, trace, parent, flags = traceparent.split("-")
        return (version, trace, parent) == ("00", self.trace, self.id) and int(flags, 16) & 1 == 1


class Collector:
    """Listens on a port of 127.0.0.1 while it is open; answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Span] = []
        self.requests: list[bytes] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def wait_for(self, count: int) -> list[Span]:
        """All spans, as soon as there are `count`."""
        await until(lambda: len(self.spans) >= count, lambda: f"{len(self.spans)} of {count} spans")
        return self.spans

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(body)
        if self.status != 200:
            return web.Response(status=self.status)
        message = ExportTraceServiceRequest.FromString(body)
        for each in message.resource_spans:
            resource = _plain(each.resource.attributes)
            self.spans += [Span(span, resource) for scope in each.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self._take)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
