"""A lane's events that are to be retried later, and those that wait behind them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from math import inf

from mess.event import Event
from mess.relay.breaker import PROBED
from mess.relay.retry_group import RetryGroup

Behind = list[tuple[int, list[Event]]]
"""Runs of events, in order, each with the position of its next step."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A group, and the events that wait behind it, each with the position of its next step."""

    group: RetryGroup
    behind: list[tuple[int, Event]] = field(default_factory=list)


class RetryQueue:
    """Preserves the order while events wait: later events with the same ordering key wait behind them, all others
    continue.

    A group that waits for its destination also holds back later events to that destination, whatever their key; these
    in turn hold back later events with their keys. `position` is that of the step that the lane is at. `wake` is called
    when a group that waited for its destination may continue.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.position = 0
        self._wake = wake
        self._numbers = count()
        self._timed: list[tuple[float, int, _Entry]] = []
        self._waiting: dict[RetryGroup, _Entry] = {}
        self._by_key: dict[int, _Entry] = {}
        self._by_destination: dict[tuple[int, str], _Entry] = {}
        self._in_hand: list[Event] = []
        self._interrupted: dict[int, tuple[int, Event]] = {}

    def __bool__(self) -> bool:
        return bool(self._timed or self._waiting)

    @property
    def due(self) -> float:
        """When the next group is due; infinite while all wait for their destinations."""
        return self._timed[0][0] if self._timed else inf

    def waiting(self) -> Iterator[tuple[RetryGroup, list[Event]]]:
        """The groups that wait here, in no particular order, each with the events behind it."""
        for entry in self._entries():
            yield entry.group, [event for _, event in entry.behind]

    def position_of(self, event: Event) -> int | None:
        """The position of the step that an event waits for, either for its own next attempt or for that of an earlier
        event; None if it does not wait."""
        entry = self._by_key.get(event.ordering_key)
        if entry is not None:
            if any(event is waiting for waiting in entry.group.events):
                return entry.group.position
            if any(event is waiting for _, waiting in entry.behind):
                return entry.group.position
        return self.position if any(event is waiting for waiting in self._in_hand) else None

    @property
    def in_hand(self) -> Sequence[Event]:
        """The events that are just being tried again, and those that waited behind them."""
        return self._in_hand

    def add(self, groups: Sequence[RetryGroup], events: Sequence[Event]) -> list[RetryGroup]:
        """Make `groups` wait, each at the step at its position; `events` are theirs and perhaps others, in order.

        An event stays in its group unless an earlier one with its key is in another: then it waits behind that. Returns
        the groups that have lost all their events in this way, which do not wait.
        """
        entries = [_Entry(group) for group in groups]
        entry_of = {id(event): entry for entry in entries for event in entry.group.events}
        for entry in entries:
            entry.group.events = []
        late: set[int] = set()
        for event in events:
            if id(event) not in entry_of:
                continue
            entry = entry_of[id(event)]
            owner = self._by_key.setdefault(event.ordering_key, entry)
            if owner is entry and event.ordering_key not in late:
                entry.group.events.append(event)
            else:
                late.add(event.ordering_key)
                owner.behind.append((entry.group.position, event))
        empty: list[RetryGroup] = []
        for entry in entries:
            group = entry.group
            if not group.events:
                empty.append(group)
            elif group.waiting:
                self._waiting[group] = entry
                if group.destination is not None:
                    self._by_destination.setdefault((group.position, group.destination), entry)
            else:
                heapq.heappush(self._timed, (group.due, next(self._numbers), entry))
        return empty

    def release(self, group: RetryGroup) -> bool:
        """Let a group that waited for its destination continue now; False if it was discarded."""
        if group not in self._waiting:
            return False
        group.waiting = False
        entry = self._waiting.pop(group)
        group.due = time.monotonic()
        heapq.heappush(self._timed, (group.due, next(self._numbers), entry))
        self._wake()
        return True

    def discard(self) -> None:
        """Forget everything: another process will deliver it."""
        for entry in self._entries():
            entry.group.over()
            if entry.group.probing:  # let another one probe
                entry.group.breaker.report(PROBED)
        self._timed.clear()
        self._waiting.clear()
        self._by_key.clear()
        self._by_destination.clear()
        self._interrupted.clear()

    def admit(
        self, events: Sequence[Event], position: int, destination: Callable[[Event], str] | None = None
    ) -> Sequence[Event]:
        """Of `events`, on their way into the step at `position`, return those that may continue; the others wait from
        now on.

        Events behind one with the same key that may continue may do so too, even if they are for a destination that is
        down: otherwise that one, when checked again, would have to wait behind them.
        """
        by_key, by_destination = self._by_key, self._by_destination if destination is not None else None
        free: list[Event] = []
        free_keys: set[int] = set()
        for event in events:
            entry = by_key.get(event.ordering_key)
            if entry is None and by_destination and destination is not None and event.ordering_key not in free_keys:
                entry = by_destination.get((position, destination(event)))
                if entry is None:
                    free_keys.add(event.ordering_key)
                else:
                    by_key[event.ordering_key] = entry
            if entry is None:
                free.append(event)
            else:
                entry.behind.append((position, event))
        return free

    def sort_out(
        self, events: Sequence[Event], passed: Collection[Event], groups: Sequence[RetryGroup]
    ) -> tuple[list[Event], list[Event]]:
        """Of the events that passed a step which failed on `groups`, separate those that may continue from those behind
        a failed event with the same key."""
        failed = {id(event) for group in groups for event in group.events}
        through = {id(event) for event in passed}
        early: list[Event] = []
        late: list[Event] = []
        keys: set[int] = set()
        for event in events:
            if id(event) in failed:
                keys.add(event.ordering_key)
            elif id(event) in through:
                (late if event.ordering_key in keys else early).append(event)
        return early, late

    def take(self) -> tuple[RetryGroup, Behind]:
        """The group that is due next, and the events that waited behind it, in order."""
        _, _, entry = heapq.heappop(self._timed)
        group = entry.group
        behind: Behind = []
        for position, event in entry.behind:
            if not behind or behind[-1][0] != position:
                behind.append((position, []))
            behind[-1][1].append(event)
        self._in_hand = [*group.events, *(event for _, event in entry.behind)]
        for event in self._in_hand:
            if self._by_key.get(event.ordering_key) is entry:
                del self._by_key[event.ordering_key]
        if group.destination is not None:
            place = (group.position, group.destination)
            if self._by_destination.get(place) is entry:
                del self._by_destination[place]
        return group, behind

    def interrupt(self, position: int, events: Sequence[Event]) -> None:
        """The lane stops in the middle of its work: of `events`, those that are not done and of which nothing is known
        yet are at the step at `position`."""
        for event in events:
            if not event.done:
                self._interrupted.setdefault(id(event), (position, event))

    def unfinished(self) -> Iterator[tuple[int, Event]]:
        """The events that wait, and those that were interrupted, once the lane has stopped: each with the position of
        its next step. Not in their order."""
        found: dict[int, tuple[int, Event]] = {}
        for entry in self._entries():
            found.update({id(event): (entry.group.position, event) for event in entry.group.events})
            found.update({id(event): (position, event) for position, event in entry.behind})
        yield from {**self._interrupted, **found}.values()

    def _entries(self) -> Iterator[_Entry]:
        return chain((entry for _, _, entry in self._timed), self._waiting.values())

    def put_down(self) -> None:
        """The group taken last has been processed."""
        self._in_hand = []
