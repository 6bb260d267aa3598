"""Existing documents that are for one step alone bypass the other steps."""

from __future__ import annotations

from mess.event import Event
from mess.relay.pipeline import Pipeline
from mess.steps.base import Sink


def narrow(pipeline: Pipeline, *, narrowed: bool = True) -> None:
    """Let events with `only` bypass the steps of a pipeline that they are not for, or no longer."""
    for index, runner in enumerate(pipeline.steps):
        later = {each.name for each in pipeline.steps[index + 1 :]}
        runner.bypass(_Narrowing(runner.name, later, isinstance(runner.step, Sink)) if narrowed else None)


class _Narrowing:
    """Whether a step has something to do for an event: for those that are for one step alone, it must be that step, or
    a step before it that does not deliver."""

    def __init__(self, name: str, later: set[str], delivers: bool) -> None:
        self._name = name
        self._later = later
        self._delivers = delivers

    def __call__(self, event: Event) -> bool:
        if event.only is None or event.only == self._name:
            return True
        return event.only in self._later and not self._delivers
