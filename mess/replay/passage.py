"""Runs a pipeline's steps for replayed events: each attempt is made once, and nothing is held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mess.errors import BatchError, DeliveryError, EndpointDown, Refused
from mess.event import Event
from mess.relay.retry import classify
from mess.state.records import DeadLetter
from mess.steps.base import Step

_OUTAGE = 10
"""After how many events in a row that fail in the same way, and may each be the cause, the sink is considered down."""


@dataclass(slots=True, eq=False)
class ReplayedLetter:
    """A dead letter's event on its way through a pipeline.

    `at` is the index of its next step. At the end, it is `done` (delivered, or dropped by a step), has the `error` of
    the step where it failed, is `left` because its destination is down, or none of these if it was not reached.
    """

    letter: DeadLetter
    event: Event
    at: int
    done: bool = False
    error: DeliveryError | None = None
    left: DeliveryError | None = None

    @property
    def over(self) -> bool:
        """Whether it goes no further."""
        return self.done or self.error is not None or self.left is not None


@dataclass(slots=True)
class Route:
    """A pipeline of the config: its steps, which are open inside `async with`, and their names.

    `down` is set as soon as a step reports that its sink is down. If only one of several destinations is, its events
    are left, and later ones of their documents.
    """

    name: str
    names: Sequence[str]
    steps: Sequence[Step]
    down: EndpointDown | None = None
    _suspected: Counter[str] = field(default_factory=Counter)
    _down: dict[str, EndpointDown] = field(default_factory=dict)
    _left: dict[int, DeliveryError] = field(default_factory=dict)
    _open: list[Step] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        try:
            for step in self.steps:
                self._open.append(step)
                await step.open()
        except EndpointDown as error:
            self.down = error
            await self._close()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        while self._open:
            await self._open.pop().close()

    async def take(self, replayed: Sequence[ReplayedLetter], stopping: Callable[[], bool]) -> None:
        """Put events through the steps, each starting at its own step, in the given order.

        Continues to the end unless a sink is down or `stopping()` is true; events that have neither failed nor finished
        by then are left where they are.
        """
        for each in replayed:
            each.done = each.at >= len(self.steps)
        for index, step in enumerate(self.steps):
            last = index + 1 == len(self.steps)
            here = [each for each in replayed if each.at == index and not each.over]
            if step.carries is not None:
                _go_on([each for each in here if not step.carries(each.event)], last)
                here = [each for each in here if each.at == index]
            most = max(1, step.max_events)
            if len(here) > most:
                step.prepare([each.event for each in here])
            for start in range(0, len(here), most):
                if self.down is not None or stopping():
                    return
                await self._attempt(step, here[start : start + most], last=last)

    def _reachable(self, step: Step, replayed: Sequence[ReplayedLetter]) -> list[ReplayedLetter]:
        """The events that are neither for a destination that is down nor behind one that is."""
        for each in replayed:
            left = self._left.get(each.event.ordering_key) or self._down.get(_place(step, each.event))
            if left is not None:
                each.left = self._left[each.event.ordering_key] = left
        return [each for each in replayed if each.left is None]

    async def _attempt(self, step: Step, replayed: Sequence[ReplayedLetter], *, last: bool) -> None:
        waiting = _runs(step, replayed)
        while waiting and self.down is None:
            part = self._reachable(step, waiting.pop(0))
            if not part:
                continue
            again, passed = await self._process(step, part)
            for each in passed:
                self._suspected.pop(_place(step, each.event), None)
            waiting[:0] = again
            _go_on(passed, last)

    async def _process(
        self, step: Step, part: list[ReplayedLetter]
    ) -> tuple[list[list[ReplayedLetter]], list[ReplayedLetter]]:
        """Call the step once; returns the events to try again, in parts, and those that continue."""
        try:
            passed = await step.process([each.event for each in part])
        except BatchError as error:
            untried = set(map(id, error.untried))
            unhurt = [
                each for index, each in enumerate(part) if index not in error.errors and id(each.event) not in untried
            ]
            again = self._fail(step, [(part[index], cause) for index, cause in sorted(error.errors.items())])
            if untried:
                again.append([each for each in part if id(each.event) in untried])
            return again, _going_on(unhurt, error.passed)
        except Exception as error:
            return self._fail(step, [(each, error) for each in part]), []
        return [], _going_on(part, passed)

    def _fail(self, step: Step, failures: Sequence[tuple[ReplayedLetter, Exception]]) -> list[list[ReplayedLetter]]:
        """Record failures; returns the halves of the events that were refused together."""
        together: dict[int, list[ReplayedLetter]] = {}
        errors: dict[int, DeliveryError] = {}
        for replayed, cause in failures:
            together.setdefault(id(cause), []).append(replayed)
            errors.setdefault(id(cause), classify(cause, step.unexpected))
        again: list[list[ReplayedLetter]] = []
        for key, group in together.items():
            error = errors[key]
            suspected = isinstance(error, EndpointDown) and error.event_may_be_cause
            place = _place(step, group[0].event)
            if isinstance(error, EndpointDown) and (not suspected or self._suspected[place] >= _OUTAGE):
                if step.destination is None or error.shared:
                    self.down = error
                    continue
                for each in group:
                    self._down[_place(step, each.event)] = error
                    each.left = self._left[each.event.ordering_key] = error
            elif (suspected or isinstance(error, Refused)) and len(group) > 1:
                middle = len(group) // 2
                again += [group[:middle], group[middle:]]
            else:
                self._suspected[place] += suspected
                for each in group:
                    each.error = error
        return again


def _place(step: Step, event: Event) -> str:
    return "" if step.destination is None else step.destination(event)


def _runs(step: Step, replayed: Sequence[ReplayedLetter]) -> list[list[ReplayedLetter]]:
    """Groups of events that may be tried together: if a document has events for two destinations, those for the first
    must finish before the next is tried."""
    runs: list[list[ReplayedLetter]] = [[]]
    places: dict[int, str] = {}
    for each in replayed:
        place = _place(step, each.event)
        if places.setdefault(each.event.ordering_key, place) != place:
            runs.append([])
            places = {each.event.ordering_key: place}
        runs[-1].append(each)
    return runs


def _go_on(replayed: Sequence[ReplayedLetter], last: bool) -> None:
    for each in replayed:
        each.at += 1
        each.done = last


def _going_on(part: Sequence[ReplayedLetter], passed: Sequence[Event] | None) -> list[ReplayedLetter]:
    """The events of `part` that continue to the next step; the others were dropped, and are done."""
    if passed is None:
        return list(part)
    kept = set(map(id, passed))
    for each in part:
        each.done = id(each.event) not in kept
    return [each for each in part if not each.done]
