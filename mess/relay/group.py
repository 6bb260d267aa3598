"""Events that failed together, and the story of their attempts."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from math import inf

from mess.errors import Ambiguous, DeliveryError, EndpointDown
from mess.event import Event
from mess.state.records import HISTORY, Attempt


@dataclass(slots=True)
class Group:
    """Events that a step failed on together, and that are tried again together.

    `position` is the stage's in its pipeline. `attempts` counts those made, `counted` those that count, `accepted` is
    what the sink had accepted by the last one, `since` when the first one failed that was more than a part of an outage
    (infinite before that), and `due` when the next is to be made (both in `time.monotonic`'s seconds).
    """

    events: list[Event]
    error: DeliveryError
    since: float = inf
    position: int = 0
    attempts: int = 0
    counted: int = 0
    accepted: int = 0
    due: float = 0.0
    history: deque[Attempt] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def halves(self) -> list[Group]:
        """The group as two, each with all that is known of the whole, to be tried at once."""
        middle = (len(self.events) + 1) // 2
        return [
            replace(self, events=events, history=self.history.copy())
            for events in (self.events[:middle], self.events[middle:])
        ]

    def joined(self, other: Group) -> Group:
        """Both groups as one, with the longer story of the two."""
        longer = max(self, other, key=lambda group: group.attempts)
        return replace(longer, events=[*self.events, *other.events])


def note(known: Group | None, error: DeliveryError, events: list[Event], accepted: int) -> Group:
    """The group of events that have just failed; `known` is what they belonged to when they had failed before, and
    `accepted` how many events the sink has accepted by now.

    An attempt counts when it failed ambiguously, and the sink has accepted others since the one before.
    """
    if known is None:
        group, witness = Group(events, error), False
    else:
        group = replace(known, events=events, error=error, history=known.history.copy())
        witness = accepted > known.accepted
    if isinstance(error, Ambiguous) and (known is None or witness):
        group.counted += 1
    if witness or not isinstance(error, EndpointDown):
        group.since = min(group.since, time.monotonic())
    group.attempts += 1
    group.accepted = accepted
    group.history.append(Attempt.failed(error))
    return group
