"""Consecutive losses for one reason are one gap, which grows."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import NamedTuple, Protocol

from bson import Timestamp

from mess.event import Event, Namespace
from mess.state.records import Gap, GapKind, storable

_PAUSE = 600.0
"""After this many seconds without another loss, the next one begins a new gap."""
_MOST_REASONS = 10
"""How many gaps grow at the same time. A sink may have a reason of its own for every event."""
_MOST_NAMESPACES = 20
_LONGEST_REASON = 500
SEVERAL = "several reasons"


class Closed(Protocol):
    """Knows which gaps are closed; for example a `Keeper`."""

    @property
    def closed_gaps(self) -> Collection[str]:
        """The ids of gaps that do not grow any more."""


class Loss(NamedTuple):
    """An event that is not delivered, with its cluster time, if that is known."""

    id: str
    namespaces: tuple[str, ...]
    time: Timestamp | None


def loss(event: Event) -> Loss:
    """The loss of an event."""
    found = event.change.get("clusterTime")
    return Loss(event.id, (_text(event.namespace),), found if isinstance(found, Timestamp) else None)


@dataclass(slots=True)
class _Growing:
    gap: Gap
    lost_at: float


class GrowingGaps:
    """The gaps of one stream, or of one step of a pipeline, that still grow: one for each reason, up to ten. Losses for
    any further reason share one. So do reasons that begin alike for 500 characters. One that `gaps` knows to be closed
    does not grow any more."""

    def __init__(
        self, kind: GapKind, gaps: Closed, *, stream: str = "", pipeline: str | None = None, step: str | None = None
    ) -> None:
        self._kind = kind
        self._closed = gaps
        self._stream = stream
        self._pipeline = pipeline
        self._step = step
        self._growing: dict[str, _Growing] = {}

    def add(self, reason: str, losses: Sequence[Loss]) -> Gap:
        """The gap that these losses begin or continue. They are at least one."""
        now = time.monotonic()
        closed = self._closed.closed_gaps
        self._growing = {
            key: each
            for key, each in self._growing.items()
            if now - each.lost_at < _PAUSE and each.gap.id not in closed
        }
        reason = storable(reason[:_LONGEST_REASON])
        if reason not in self._growing and len(self._growing) >= _MOST_REASONS:
            reason = SEVERAL
        known = self._growing.get(reason)
        gap = _grown(self._new(reason, losses[0]) if known is None else known.gap, losses)
        self._growing[reason] = _Growing(gap, now)
        return gap

    def _new(self, reason: str, first: Loss) -> Gap:
        return Gap(
            stream=self._stream,
            since=first.time,
            until=first.time,
            reason=reason,
            time=datetime.now(timezone.utc),
            kind=self._kind,
            pipeline=self._pipeline,
            step=self._step,
            count=0,
            first=first.id,
        )


def _grown(gap: Gap, losses: Sequence[Loss]) -> Gap:
    # Lanes work side by side: a later loss may be of an earlier change.
    times = [each for each in (gap.since, gap.until, *(loss.time for loss in losses)) if each is not None]
    return replace(
        gap,
        since=min(times, default=None),
        until=max(times, default=None),
        count=(gap.count or 0) + len(losses),
        last=losses[-1].id,
        namespaces=_bounded([*gap.namespaces, *(each for loss in losses for each in loss.namespaces)]),
    )


def _bounded(namespaces: Sequence[str]) -> tuple[str, ...]:
    """The distinct ones; if there are too many, whole databases, or everything."""
    wide = {each for each in namespaces if each.endswith(".*")}
    found = tuple(dict.fromkeys(each for each in namespaces if each in wide or not wide & {_all_of(each), "*.*"}))
    if len(found) > _MOST_NAMESPACES:
        found = tuple(dict.fromkeys(map(_all_of, found)))
    return found if len(found) <= _MOST_NAMESPACES and "*.*" not in found else ("*.*",)


def _all_of(namespace: str) -> str:
    return f"{namespace.partition('.')[0]}.*"


def _text(namespace: Namespace) -> str:
    return f"{namespace.db}.{namespace.coll}"
