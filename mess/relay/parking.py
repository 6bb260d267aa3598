"""The events of a lane that wait for their next attempt, and those that wait behind them."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from itertools import chain, count

from mess.event import Event
from mess.relay.group import Group


class Parking:
    """Keeps order while events wait: what is in line with a waiting event waits behind it, all else goes on.

    `position` is that of the stage that its lane is at.
    """

    def __init__(self) -> None:
        self.position = 0
        self._groups: list[tuple[float, int, Group]] = []
        self._numbers = count()
        self._behind: dict[int, list[tuple[int, int, Event]]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def due(self) -> float:
        """When the next group is due; there must be one."""
        return self._groups[0][0]

    def position_of(self, event: Event) -> int | None:
        """The position of the stage that an event waits for, be it for its own next attempt or for that of an earlier
        event; None when it does not wait."""
        if not any(event is waiting for line in self._behind.values() for _, _, waiting in line):
            return next((group.position for _, _, group in self._groups if event in group.events), None)
        return next(group.position for _, _, group in self._groups if event.line in {e.line for e in group.events})

    def park(self, groups: Sequence[Group], events: Sequence[Event]) -> None:
        """Let `groups` wait until they are due, each behind the stage at its position; `events` are theirs and perhaps
        others, in their order.

        An event stays in its group unless an earlier one of its key is in another: then it waits behind that.
        """
        group_of = {id(event): group for group in groups for event in group.events}
        for group in groups:
            group.events = []
        first: dict[int, Group] = {}
        for event in events:
            if id(event) not in group_of:
                continue
            group = group_of[id(event)]
            key = event.line
            if key not in self._behind:
                self._behind[key] = []
                first[key] = group
            if first.get(key) is group and not self._behind[key]:
                group.events.append(event)
            else:
                self._behind[key].append((next(self._numbers), group.position, event))
        for group in groups:
            if group.events:
                heapq.heappush(self._groups, (group.due, next(self._numbers), group))

    def pass_by(self, events: Sequence[Event], position: int) -> list[Event]:
        """Those of `events`, on their way into the stage at `position`, that may go on; the others wait from now on."""
        free: list[Event] = []
        for event in events:
            behind = self._behind.get(event.line)
            if behind is None:
                free.append(event)
            else:
                behind.append((next(self._numbers), position, event))
        return free

    def sort_out(
        self, events: Sequence[Event], passed: Collection[Event], groups: Sequence[Group]
    ) -> tuple[list[Event], list[Event]]:
        """Of the events that a stage passed while it failed on `groups`: those that may go on, and those that must not
        since they stand behind a failed event of their own key."""
        failed = {id(event) for group in groups for event in group.events}
        through = {id(event) for event in passed}
        early: list[Event] = []
        late: list[Event] = []
        keys: set[int] = set()
        for event in events:
            if id(event) in failed:
                keys.add(event.line)
            elif id(event) in through:
                (late if event.line in keys else early).append(event)
        return early, late

    def take(self) -> tuple[Group, list[tuple[int, list[Event]]]]:
        """The group that is due next, and what has waited behind it: runs of events, in the order in which they came,
        each with its next stage."""
        _, _, group = heapq.heappop(self._groups)
        lines = dict.fromkeys([event.line for event in group.events])
        behind: list[tuple[int, list[Event]]] = []
        for _, position, event in sorted(chain.from_iterable(self._behind.pop(line) for line in lines)):
            if not behind or behind[-1][0] != position:
                behind.append((position, []))
            behind[-1][1].append(event)
        return group, behind
