"""The delivery attempt that is being traced, as sinks see it. Without tracing, there is none."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Attempt:
    """A delivery attempt that is being traced.

    `headers` are to be sent along: `traceparent`, and what else the user's propagators need. The sink may add to
    `attributes`, by their names in OpenTelemetry's semantic conventions.
    """

    headers: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str | int] = field(default_factory=dict)


current: ContextVar[Attempt | None] = ContextVar("attempt", default=None)
"""The current task's attempt; None if it is not traced."""
