"""Which events a live tail shows."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from mess.event import Event, Namespace

Outcome = Literal["delivered", "dropped", "dead_letter", "skipped"]
"""What became of an event: it went through all steps, a step dropped it, or it was given up and stored or skipped."""
OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))

_RESOLUTION = 1_000_000


@dataclass(frozen=True, slots=True)
class TailFilter:
    """Selects events: those that satisfy everything that is given. Empty sets do not restrict anything.

    `namespace` is a database (including all its collections) or `database.collection`; both may be globs. `step` is one
    that the event reached. `sample` is the share of events to show, from 0 to 1; which ones depends on their ids alone,
    so all tails of a relay show the same ones. With `documents`, events are shown with what may contain parts of
    documents: their keys, and the sinks' answers; with `bodies`, also with the documents themselves.
    """

    pipeline: str | None = None
    step: str | None = None
    namespace: str | None = None
    operations: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    outcomes: frozenset[str] = frozenset()
    sample: float = 1.0
    documents: bool = True
    bodies: bool = False

    @property
    def rare(self) -> bool:
        """Whether it selects only events that are not delivered, which are few among many."""
        return bool(self.outcomes) and "delivered" not in self.outcomes

    @property
    def broad(self) -> bool:
        """Whether it selects about everything that is read."""
        return not (self.operations or self.ids) and self.namespace is None and self.pipeline is None

    def selects_namespace(self, namespace: Namespace, pipeline: str | None) -> bool:
        """Whether events of a namespace, which take this pipeline (None if unknown), may be among those selected."""
        if self.pipeline is not None and pipeline is not None and pipeline != self.pipeline:
            return False
        wanted = self.namespace
        if wanted is None:
            return True
        return fnmatchcase(str(namespace), wanted) or fnmatchcase(namespace.db, wanted)

    def selects(self, event: Event) -> bool:
        """Whether it selects an event of such a namespace, as far as that is known when the event is read."""
        if self.operations and event.operation not in self.operations:
            return False
        return not self.ids or event.id in self.ids

    def samples(self, event: Event) -> bool:
        """Whether an event that it selects belongs to the sample."""
        return self.sample >= 1.0 or hash(event.id) % _RESOLUTION < self.sample * _RESOLUTION
