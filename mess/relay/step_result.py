"""What comes out of a step for the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mess.event import Event
from mess.relay.retry_group import RetryGroup


class StepResult(NamedTuple):
    """The result of a step: the events that continue, in order; those to be retried later, in groups; and those that it
    did not reach. All others are done."""

    passed: Sequence[Event]
    groups: Sequence[RetryGroup] = ()
    untried: Sequence[Event] = ()

    def beside(self, own: Sequence[Event], events: Sequence[Event]) -> StepResult:
        """This result of the step's `own` events, for all `events`: the others bypass it, except those behind an event
        with the same key that it did not reach, which are untried, too."""
        theirs, kept, again = (set(map(id, some)) for some in (own, self.passed, self.untried))
        passed: list[Event] = []
        untried: list[Event] = []
        keys: set[int] = set()
        for event in events:
            if id(event) in again:
                keys.add(event.ordering_key)
                untried.append(event)
            elif id(event) in kept:
                passed.append(event)
            elif id(event) not in theirs:
                (untried if event.ordering_key in keys else passed).append(event)
        return StepResult(passed, self.groups, untried)
