"""A pipeline with its lanes, fed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from mess.config.model import StepSpec
from mess.event import Event
from mess.leadership import ALWAYS, Leadership
from mess.relay.completion import Completion
from mess.relay.dispatch import ordering_key
from mess.relay.giving_up import GivingUp
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.steps.base import Step
from mess.telemetry.metrics import Metrics
from tests.unit.fakes import Letters

QUICK: dict[str, Any] = {"retry": {"first": 0.001, "cap": 0.002}, "probe": {"first": 0.001, "cap": 0.002}}
"""Pauses of a millisecond or two."""


class Line:
    """A pipeline of `steps`, with `lanes` lanes that events are spread over as the relay does.

    `spec` is the last step's entry in the config; all have quick pauses. All steps obey `leadership`. `delivered` and
    `dropped` are the events told of by the pipeline.
    """

    def __init__(
        self, *steps: Step, lanes: int = 1, order: str = "document", leadership: Leadership = ALWAYS, **spec: Any
    ) -> None:
        self.leadership = leadership
        self.stopping = _Stopping(self)
        self.letters = Letters()
        self.metrics = Metrics("test")
        self.delivered: list[Event] = []
        self.dropped: list[Event] = []
        self.errors: list[BaseException] = []  # what ended a lane
        self.runners = [self._stage(number, step, {}) for number, step in enumerate(steps[:-1])]
        self.runners.append(self._stage(len(steps) - 1, steps[-1], spec))
        self.runner = self.runners[-1]
        self.order = order
        self._told = asyncio.Event()
        pipeline = Pipeline("default", self.runners, self.stopping)
        self.lanes = [Lane(pipeline, cast(Completion, self), wants_more=lambda: None) for _ in range(lanes)]

    def feed(self, events: Sequence[Event]) -> None:
        """Hand events to their lanes."""
        for event in events:
            event.ordering_key = ordering_key(event, self.order)
            lane = self.lanes[event.ordering_key % len(self.lanes)]
            lane.events.append(event)
            lane.wake()

    async def until(self, count: int, timeout: float = 5.0) -> None:
        """Return when so many events are done with. Raises AssertionError, and what ended a lane."""
        try:
            async with asyncio.timeout(timeout):
                while len(self.delivered) + len(self.dropped) < count and not self.errors:
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self.delivered)} delivered, {len(self.dropped)} dropped of {count}") from None
        if self.errors:
            raise self.errors[0]

    async def stop(self) -> None:
        """Stop, and wait for the lanes."""
        self.stopping.set()
        await asyncio.gather(*(lane.task for lane in self.lanes if lane.task is not None))

    def _stage(self, number: int, step: Step, spec: dict[str, Any]) -> StepRunner:
        options = {section: {**QUICK[section], **spec.pop(section, {})} for section in QUICK}
        name = f"step {number}"
        entry = StepSpec.model_validate({"name": name, **options, **spec})
        observer = self.metrics.step("default", name)
        return StepRunner(
            step,
            entry,
            "default",
            name=name,
            stopping=self.stopping,
            give_up=GivingUp("default", name, entry.on_failure, self.letters, observer).give_up,
            observer=observer,
            leadership=self.leadership,
        )

    def finish(self, events: Sequence[Event], *, delivered: bool) -> None:
        (self.delivered if delivered else self.dropped).extend(events)
        self._told.set()

    def failed(self, error: BaseException) -> None:
        """What ended a lane."""
        self.errors.append(error)
        self._told.set()


class _Stopping(Stopping):
    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        self._line.failed(error)
