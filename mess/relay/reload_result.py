"""The outcome of a reload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mess.telemetry.redact import redact


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The outcome of a reload: `text` says, a line for each, what was changed, or why nothing was."""

    ok: bool
    text: tuple[str, ...]
    time: datetime

    def as_json(self) -> dict[str, Any]:
        """The result as JSON."""
        return {"time": self.time.isoformat(), "ok": self.ok, "text": list(self.text)}


def reload_result(lines: Sequence[str], *, ok: bool) -> ReloadResult:
    """A result with these lines, of now."""
    return ReloadResult(ok, tuple(map(redact, lines)), datetime.now(timezone.utc))
