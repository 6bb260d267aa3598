"""Gaps as programs see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bson import Timestamp

from mess.state.records import GAP_KINDS, Gap
from mess.telemetry.redact import redact

_NEWEST = 5


def described(gap: Gap) -> dict[str, Any]:
    """A gap in JSON's types. The times are cluster times in ISO 8601, null if unknown."""
    return {
        "id": gap.id,
        "kind": gap.kind,
        "stream": gap.stream or None,
        "pipeline": gap.pipeline,
        "step": gap.step,
        "namespaces": list(gap.namespaces),
        "count": gap.count,
        "since": _iso(gap.since),
        "until": _iso(gap.until),
        "first": gap.first,
        "last": gap.last,
        "open": gap.open,
        "reason": redact(gap.reason),
        "time": gap.time.isoformat(),
    }


def summary(gaps: Sequence[Gap], *, documents: bool = True) -> dict[str, Any]:
    """How many gaps there are, and the newest of them, given the oldest first. Without `documents`, leave out what
    sinks said."""
    newest = [described(gap) | {"reason": reason(gap, documents=documents)} for gap in gaps[: -_NEWEST - 1 : -1]]
    return {"count": len(gaps), "newest": newest}


def reason(gap: Gap, *, documents: bool) -> str:
    """Why there is a gap. Without `documents`, not what a step said, which may repeat parts of documents."""
    return redact(gap.reason) if documents or gap.step is None else "a step gave it up; the log says why"


def by_kind(gaps: Sequence[Gap]) -> dict[str, int]:
    """How many gaps there are of each kind."""
    return {**dict.fromkeys(GAP_KINDS, 0), **Counter(gap.kind for gap in gaps)}


def _iso(time: Timestamp | None) -> str | None:
    return None if time is None else time.as_datetime().isoformat()
