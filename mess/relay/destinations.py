"""Tracks the destinations of a step that has several, such as the topics of a broker."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mess.config.model import Probe
from mess.errors import DeliveryError
from mess.event import Event
from mess.relay.breaker import CircuitBreaker, Result
from mess.relay.evidence import Evidence
from mess.relay.obstacle import Obstacle
from mess.relay.probe_pacer import ProbePacer
from mess.relay.retry_group import RetryGroup
from mess.relay.stopping import Stopping

KEPT = 1000
"""How many unused breakers are kept."""
_LOOKED_AT = 8

Division = tuple[Sequence[Event], list[RetryGroup], list[Event]]
"""The events that may be tried now; those that wait for a destination that is down; and those that must be tried later,
since their documents have earlier events for another destination."""


class Destinations:
    """A circuit breaker for each destination that has failed. Destinations without failures have no breaker, so this
    costs nothing while all goes well. `whole` and `changed` are as for a breaker.

    Breakers that are open, or have events to be retried, are kept; there are no more of these than events in flight. Of
    the others, the 1,000 most recently used are kept.
    """

    def __init__(
        self,
        of: Callable[[Event], str],
        probe: Probe,
        stopping: Stopping,
        *,
        whole: Evidence,
        changed: Callable[[DeliveryError | None, str | None], None],
    ) -> None:
        self.of = of
        self._whole = whole
        self._changed = changed
        self._probe = probe
        self._stopping = stopping
        self._pacer = ProbePacer(probe.first)
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._breakers)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the destinations that are down; None if none is."""
        down = [breaker.trouble for breaker in self._breakers.values() if breaker.trouble is not None]
        if not down:
            return None
        return (
            f"one destination is down: {down[0]}" if len(down) == 1 else f"{len(down)} destinations are down: {down[0]}"
        )

    @property
    def obstacle(self) -> Obstacle | None:
        """What is wrong with one of the destinations that are down, and since when; None if none is."""
        found = [breaker.obstacle for breaker in self._breakers.values()]
        down = sorted((each for each in found if each is not None), key=lambda each: each.since or 0.0)
        if not down:
            return None
        count = "one destination is down" if len(down) == 1 else f"{len(down)} destinations are down"
        return replace(down[0], cause=self.trouble or down[0].cause, brief=f"{count}: {down[0].brief}")

    def breaker(self, destination: str) -> CircuitBreaker:
        """The breaker of a destination, created if necessary."""
        found = self._breakers.get(destination)
        if found is None:
            found = self._breakers[destination] = CircuitBreaker(
                self._probe,
                self._stopping,
                changed=lambda error: self._changed(error, destination),
                pacer=self._pacer,
                whole=self._whole,
            )
            if len(self._breakers) > KEPT:
                self._evict()
        else:
            self._breakers.move_to_end(destination)
        return found

    def accept(self, events: Iterable[Event]) -> None:
        """Record that these were accepted by the sink, or processed by the step."""
        for destination, count in Counter(map(self.of, events)).items():
            breaker = self._breakers.get(destination)
            if breaker is not None:
                breaker.report(Result(accepted=count))
                if _idle(breaker):
                    del self._breakers[destination]

    def retire(self) -> None:
        """See `CircuitBreaker.retire`."""
        for breaker in self._breakers.values():
            breaker.retire()

    def report(self, destination: str, result: Result) -> None:
        """Record what an attempt has shown about a destination; this matters only if it has failed before."""
        if (breaker := self._breakers.get(destination)) is not None:
            breaker.report(result)

    def divide(self, events: Sequence[Event]) -> Division:
        """Divide events so that those to be tried now contain no destination that is down, and no document with events
        for two destinations."""
        if not self._breakers:
            keys = [event.ordering_key for event in events]
            different = len(set(keys))
            if different == len(keys) or different == len(set(zip(keys, map(self.of, events), strict=True))):
                return events, [], []
        places = list(map(self.of, events))
        go: list[Event] = []
        held: dict[str, RetryGroup] = {}
        later: list[Event] = []
        place_of: dict[int, str | None] = {}
        for event, place in zip(events, places, strict=True):
            if place_of.setdefault(event.ordering_key, place) != place:
                place_of[event.ordering_key] = None  # none of its later ones may overtake it
                later.append(event)
                continue
            breaker = self._breakers.get(place)
            if breaker is None or breaker.error is None:
                go.append(event)
            elif place in held:
                held[place].events.append(event)
            else:
                held[place] = RetryGroup(
                    events=[event], error=breaker.error, breaker=breaker, destination=place, waiting=True
                )
        return go, list(held.values()), later

    def _evict(self) -> None:
        for _ in range(_LOOKED_AT):
            destination, breaker = next(iter(self._breakers.items()))
            if _idle(breaker):
                del self._breakers[destination]
                return
            self._breakers.move_to_end(destination)


def _idle(breaker: CircuitBreaker) -> bool:
    """Whether nothing about it needs to be remembered: it is closed, and no failed event is to be retried."""
    return breaker.state == "closed" and not breaker.evidence.failing
