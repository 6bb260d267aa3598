"""What the attempts so far have shown about a sink, or about one of its destinations."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from mess.config.model import Probe
from mess.errors import Ambiguous, DeliveryError, EndpointDown


class Kind(Enum):
    """How events failed that are to be retried."""

    SUSPECT = "suspect"
    """The sink seems to be down, but the event may be the cause."""
    DOWN = "down"
    """The sink is down, and the event cannot be the cause."""
    AMBIGUOUS = "ambiguous"
    """It may be either."""

    @staticmethod
    def of(error: DeliveryError) -> Kind:
        """The kind of a failure."""
        if isinstance(error, Ambiguous):
            return Kind.AMBIGUOUS
        may_be = isinstance(error, EndpointDown) and error.event_may_be_cause and error.retry_after is None
        return Kind.SUSPECT if may_be else Kind.DOWN


class Evidence:
    """Counts for one sink, or for one of its destinations, whose sink as a whole has the evidence `whole`.

    `accepted` counts the events that it accepted.
    """

    def __init__(self, probe: Probe, whole: Evidence | None = None) -> None:
        self.accepted = 0
        self._suspect_after = probe.suspect_after
        self._refusing_after = probe.refusing_after
        self._whole = whole
        self._failing: dict[object, Kind] = {}
        self._kinds: Counter[Kind] = Counter()
        self._doubts = 0
        self._refused = 0
        self._unbroken = 0

    @property
    def suspect(self) -> bool:
        """Whether it has failed ambiguously on several different events with no success in between."""
        return self._doubts >= self._suspect_after

    @property
    def refusing(self) -> bool:
        """Whether it has refused so many different events in a row that it, and not the events, must be wrong."""
        return self._refusing_after is not None and self._refused >= self._refusing_after

    @property
    def unbroken(self) -> bool:
        """Whether so many different events have failed since it accepted one."""
        return self._unbroken >= self._suspect_after

    @property
    def failing(self) -> bool:
        """Whether events that failed are to be retried."""
        return bool(self._failing)

    def outage(self, kind: Kind) -> bool:
        """Whether so many different events are failing in this way that the sink must be the cause."""
        known = self._kinds
        failing = known[kind] if kind is not Kind.DOWN else known[kind] + known[Kind.SUSPECT]
        return failing >= self._suspect_after

    def accept(self, events: int) -> None:
        """It has accepted events."""
        self.accepted += events
        self._doubts = self._refused = self._unbroken = 0

    def refuse(self) -> None:
        """It has refused another event."""
        self._refused += 1

    def fail(self, unit: object, kind: Kind, *, first: bool) -> None:
        """Events that are tried together have failed, for the first time or again."""
        self.forget(unit)
        self._failing[unit] = kind
        self._kinds[kind] += 1
        self._unbroken += first
        if first and kind is Kind.AMBIGUOUS:
            self._doubt()

    def forget(self, unit: object) -> None:
        """These events have been accepted or given up, or now belong to others."""
        kind = self._failing.pop(unit, None)
        if kind is not None:
            self._kinds[kind] -= 1

    def _doubt(self) -> None:
        self._doubts += 1
        # If all destinations of a sink fail one after another, the sink is suspect as a whole.
        if self._doubts == 1 and self._whole is not None:
            self._whole._doubt()
