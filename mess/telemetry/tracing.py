"""Whether deliveries are traced. OpenTelemetry is imported only if they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mess.options.extras import required
from mess.telemetry.logging import get_logger

if TYPE_CHECKING:
    from mess.telemetry.spans import Spans

log = get_logger("mess.tracing")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SUPPORTED = "http/protobuf"


def is_wanted(enabled: bool | None, environ: Mapping[str, str]) -> bool:
    """Whether to trace: as `enabled` says or, if it is None, if the environment names an OTLP endpoint. In any case,
    OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER can turn it off."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") not in ("", "otlp"):
        return False
    return any(environ.get(name) for name in _ENDPOINTS) if enabled is None else enabled


def start(relay: str, version: str, enabled: bool | None) -> Spans | None:
    """Begin to trace the deliveries of a relay, if that is wanted.

    What keeps it from that is logged, and nothing is traced. But if the config enables it, raises ConfigError if the
    extra is not installed.
    """
    if not is_wanted(enabled, os.environ):
        return None
    protocol = next((found for name in _PROTOCOLS if (found := os.environ.get(name))), _SUPPORTED)
    if protocol != _SUPPORTED:
        log.warning("traces are sent as http/protobuf, the only supported protocol", configured=protocol)
    if enabled:
        with required("otel", "tracing", "tracing.enabled"):
            import opentelemetry.exporter.otlp.proto.http
            import opentelemetry.sdk  # noqa: F401
    try:
        from mess.telemetry.spans import Spans

        return Spans(relay, version)
    except ImportError:
        log.warning("deliveries are not traced: pip install 'mess[otel]', or set tracing: {enabled: false}")
    except Exception as error:  # a variable's value that the SDK does not accept
        log.warning("deliveries are not traced: OpenTelemetry cannot be configured", error=error)
    return None
