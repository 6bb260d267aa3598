"""A pipeline's steps for replayed events: each attempt is made once, and nothing is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mess.errors import BatchError, DeliveryError, EndpointDown, Refused
from mess.event import Event
from mess.relay.retry import classify
from mess.state.records import DeadLetter
from mess.step import Step

_OUTAGE = 10
"""After how many events in a row that fail alike, and may each be the cause, the sink is taken to be down."""


@dataclass(slots=True, eq=False)
class Traveller:
    """A dead letter's event on its way through a pipeline.

    `at` is the index of the step that it is to take next. In the end it is `done` (delivered, or dropped by a step), it
    has the `error` of the step that it failed at, or neither, when it was not got to.
    """

    letter: DeadLetter
    event: Event
    at: int
    done: bool = False
    error: DeliveryError | None = None


@dataclass(slots=True)
class Route:
    """A pipeline of the config: its steps, which are open inside `async with`, and their names.

    `down` is set as soon as a step says that its sink is down.
    """

    name: str
    names: Sequence[str]
    steps: Sequence[Step]
    down: EndpointDown | None = None
    _suspected: int = 0
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

    async def take(self, travellers: Sequence[Traveller], stopping: Callable[[], bool]) -> None:
        """Put events through the steps, each from its own step on and all in the order given.

        Goes on to the end unless a sink is down or `stopping()`; events that have not failed yet and are not through
        then, are left in between.
        """
        for each in travellers:
            each.done = each.at >= len(self.steps)
        for index, step in enumerate(self.steps):
            last = index + 1 == len(self.steps)
            here = [each for each in travellers if each.at == index and each.error is None and not each.done]
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

    async def _attempt(self, step: Step, travellers: Sequence[Traveller], *, last: bool) -> None:
        waiting = [list(travellers)]
        while waiting and self.down is None:
            part = waiting.pop(0)
            again, passed = await self._process(step, part)
            if passed:
                self._suspected = 0
            waiting[:0] = again
            _go_on(passed, last)

    async def _process(self, step: Step, part: list[Traveller]) -> tuple[list[list[Traveller]], list[Traveller]]:
        """One call of the step; returns those to try again, in parts, and those that go on."""
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

    def _fail(self, step: Step, failures: Sequence[tuple[Traveller, Exception]]) -> list[list[Traveller]]:
        """Note who failed; returns the halves of those that were refused as one."""
        together: dict[int, list[Traveller]] = {}
        errors: dict[int, DeliveryError] = {}
        for traveller, cause in failures:
            together.setdefault(id(cause), []).append(traveller)
            errors.setdefault(id(cause), classify(cause, step.unexpected))
        again: list[list[Traveller]] = []
        for key, group in together.items():
            error = errors[key]
            suspected = isinstance(error, EndpointDown) and error.event_may_be_cause
            if isinstance(error, EndpointDown) and (not suspected or self._suspected >= _OUTAGE):
                self.down = error
            elif (suspected or isinstance(error, Refused)) and len(group) > 1:
                middle = len(group) // 2
                again += [group[:middle], group[middle:]]
            else:
                self._suspected += suspected
                for each in group:
                    each.error = error
        return again


def _go_on(travellers: Sequence[Traveller], last: bool) -> None:
    for each in travellers:
        each.at += 1
        each.done = last


def _going_on(part: Sequence[Traveller], passed: Sequence[Event] | None) -> list[Traveller]:
    """Those of `part` that go on to the next step; the others were dropped, and are done."""
    if passed is None:
        return list(part)
    kept = set(map(id, passed))
    for each in part:
        each.done = id(each.event) not in kept
    return [each for each in part if not each.done]
