"""An exporter that fails quietly: one line of the log in ten minutes. Import this only if deliveries are traced."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mess.telemetry.logging import get_logger
from mess.telemetry.redact import shown

log = get_logger("mess.tracing")

_LOG_AGAIN = 600.0
_LONGEST_REASON = 500


class QuietExporter(SpanExporter):
    """Exports with another exporter, which is called in a thread of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._reason = _LastMessage()
        self._logged_at: float | None = None
        self._ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`. Raises nothing."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            result, self._reason.text = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if self._ended:
            return result
        now = time.monotonic()
        if result is SpanExportResult.SUCCESS:
            if self._logged_at is not None:
                self._logged_at = None
                log.info("traces are exported again")
        elif self._logged_at is None or now - self._logged_at >= _LOG_AGAIN:
            self._logged_at = now
            reason = shown(self._reason.text, _LONGEST_REASON)
            log.warning("traces cannot be exported at present and are lost; deliveries go on", error=reason)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`. What is not exported by now is lost, which is no failure."""
        self._ended = True
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class _LastMessage(logging.Handler):
    """Keeps the SDK's last message, which otherwise would be a line of the log for every attempt."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        sdk = logging.getLogger("opentelemetry")
        sdk.handlers = [handler for handler in sdk.handlers if not isinstance(handler, _LastMessage)]
        sdk.addHandler(self)
        sdk.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
