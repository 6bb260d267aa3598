"""What is specific to replays of the oplog: which steps are repeated, and the counts of outcomes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from mess.errors import ConfigError, DeliveryError
from mess.event import Event, Namespace
from mess.relay.build import BuiltStep, Steps
from mess.relay.gaps import Keeper
from mess.state.store import DeadLetter, Gap
from mess.steps.base import Sink
from mess.telemetry.observer import PipelineObserver, StepObserver, StreamObserver


def only(steps: Steps, name: str) -> Steps:
    """The pipelines that have a step with this name, up to that step and without the sinks before it.

    Raises ConfigError if there is none, with the existing names.
    """
    found = {pipeline: cut for pipeline, built in steps.items() if (cut := _up_to(built, name))}
    if not found:
        names = dict.fromkeys(repr(step.name) for built in steps.values() for step in built)
        raise ConfigError(f"no pipeline has a step {name!r}; there are: {', '.join(names) or 'none'}")
    return found


def _up_to(built: Sequence[BuiltStep], name: str) -> list[BuiltStep]:
    for index, step in enumerate(built):
        if step.name == name:
            return [*(before for before in built[:index] if not isinstance(before.step, Sink)), step]
    return []


class ReplayCounts:
    """Counts the outcomes of a replay's events: an `Observer`, which also wraps `keeper`.

    `routed` counts the events that each pipeline is done with, by namespace: `delivered` passed all steps, `dropped`
    were dropped by one. `kept` counts the stored dead letters. Without a keeper there are none, and events are only
    counted.
    """

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.delivered = 0
        self.dropped = 0
        self.kept = 0
        self.routed: dict[str, Counter[Namespace]] = defaultdict(Counter)
        self._keeper = keeper
        self._ended_early = 0
        self._stored = 0

    @property
    def handled(self) -> int:
        """How many events the pipelines are done with."""
        return self.delivered + self._ended_early

    @property
    def skipped(self) -> int:
        """How many events were given up without a dead letter."""
        # A letter is stored before its event is done.
        return max(0, self._ended_early - self.dropped - self._stored)

    def stream(self, name: str) -> StreamObserver:
        """See `Observer`. Events without a pipeline do not count."""
        return StreamObserver()

    def pipeline(self, name: str) -> PipelineObserver:
        """See `Observer`."""
        return _Finished(self, self.routed[name])

    def step(self, pipeline: str, step: str) -> StepObserver:
        """See `Observer`."""
        return _Lost(self)

    def finish(self, events: int, *, delivered: bool) -> None:
        """Count events that a pipeline is done with."""
        if delivered:
            self.delivered += events
        else:
            self._ended_early += events

    def store(self, events: int) -> None:
        """Count events that were given up, and are dead letters now."""
        self._stored += events

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """See `Keeper`."""
        if self._keeper is not None:
            await self._keeper.add_dead_letters(letters)
            self.kept += len(letters)

    @property
    def closed_gaps(self) -> Sequence[str]:
        """See `Keeper`."""
        return ()

    @property
    def known_gaps(self) -> Sequence[Gap]:
        """See `Keeper`; a replay does not report earlier ones."""
        return ()

    def defer_gap(self, gap: Gap) -> None:
        """See `Keeper`. What a replay skips is counted: the relay's own delivery does not skip it."""

    async def record_gap(self, gap: Gap) -> None:
        """See `Keeper`. A change that cannot be read again is in the relay's own record."""
        if self._keeper is not None and gap.kind == "history_lost":
            await self._keeper.record_gap(gap)


class _Finished(PipelineObserver):
    def __init__(self, counts: ReplayCounts, routed: Counter[Namespace]) -> None:
        self._counts = counts
        self._routed = routed

    def finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        self._routed.update([event.namespace for event in events])
        self._counts.finish(len(events), delivered=delivered)


class _Lost(StepObserver):
    def __init__(self, counts: ReplayCounts) -> None:
        self._counts = counts

    def dropped(self, count: int) -> None:
        self._counts.dropped += count

    def given_up(self, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        if stored:
            self._counts.store(len(events))
