"""Which way a dead letter takes in a replay: on from where it stopped, or through another pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mess.event import Namespace
from mess.state.records import Pointer

UNREADABLE = "the change could not be read from MongoDB, so there is nothing to deliver"


@dataclass(frozen=True, slots=True)
class Way:
    """How a letter would be replayed: through which pipeline, and starting at which step (0 is the first).

    `whole` means with the original change, otherwise with the body that the step was given. `why` says why this is not
    the letter's own way.
    """

    pipeline: str
    first: int
    whole: bool
    why: str = ""


class Kept(Exception):
    """A letter cannot be replayed; the message says why."""


PipelineOf = Callable[[Namespace], str | None]
"""Returns the config's pipeline for a namespace, None if there is none."""


class Ways:
    """The ways through the config's pipelines, whose `steps` are given by their names.

    A letter continues where it stopped, with the body that the step was given. If its pipeline or step is no longer in
    the config, the original change goes through all steps of the pipeline that its namespace has now (`pipeline_of`).
    With `through`, letters of other pipelines go through all steps of that one; with `whole`, all letters start at the
    first step.
    """

    def __init__(
        self,
        steps: Mapping[str, Sequence[str]],
        pipeline_of: PipelineOf,
        *,
        whole: bool = False,
        through: str | None = None,
    ) -> None:
        self._steps = steps
        self._pipeline_of = pipeline_of
        self._whole = whole
        self._through = through

    def of(self, pointer: Pointer, renamed_to: Any = None) -> Way:
        """The way of a letter. `renamed_to` is the change's `to`, if it is known. Raises Kept if there is none."""
        if not pointer.pipeline:
            raise Kept(UNREADABLE)
        if self._through is not None and self._through != pointer.pipeline:
            return Way(self._through, 0, whole=True, why=f"instead of {pointer.pipeline!r}")
        own = self._steps.get(pointer.pipeline)
        if own is None:
            why = f"pipeline {pointer.pipeline!r} is no longer in the config"
        elif self._whole:
            return Way(pointer.pipeline, 0, whole=True)
        elif pointer.step in own:
            return Way(pointer.pipeline, own.index(pointer.step), whole=False)
        else:
            why = f"pipeline {pointer.pipeline!r} no longer has a step {pointer.step!r}"
        name = self._through or self._pipeline_of(pointer.namespace)
        if name is None and isinstance(renamed_to, Mapping):
            name = self._pipeline_of(Namespace(renamed_to.get("db", ""), renamed_to.get("coll", "")))
        if name is None or name not in self._steps:
            choice = ", ".join(map(repr, self._steps)) or "there is none"
            raise Kept(f"{why}, and {pointer.namespace} has none now; choose one with --through: {choice}")
        return Way(name, 0, whole=True, why=why)
