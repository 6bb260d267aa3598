"""From a pipeline's entry to its step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from mess import steps
from mess.config.model import StepSpec
from mess.config.scope import HOOK
from mess.step import Context, Step
from mess.steps.function import FunctionStep


def build_step(name: str, config: Mapping[str, Any], plugins: Mapping[str, str], context: Context) -> Step:
    """The step called `name`: one of the user's `plugins` (a name and a function's reference), else one of MESS's own,
    else one of an installed package.

    Raises ConfigError when the step's surroundings do not fit, as when a file that it names cannot be read.
    """
    if name in plugins:
        return FunctionStep(context.functions[plugins[name]], config, context.config)
    return steps.config_class(name).model_validate(config).build(context)


def build_hook(reference: str, context: Context) -> Step:
    """The user's function that takes a pipeline's place."""
    return FunctionStep(context.functions[reference], {}, context.config, hook=True)


def describe_step(name: str, config: Mapping[str, Any], plugins: Mapping[str, str]) -> str:
    """A pipeline's entry in a few words, without secrets."""
    if name in plugins:
        return f"{name} ({plugins[name]})"
    return name if name.startswith(HOOK) else steps.config_class(name).model_validate(config).describe()


def stage_names(steps: Sequence[StepSpec]) -> list[str]:
    """A name for each of a pipeline's steps that no other of them has: `http`, `http 2`, …

    Dead letters and metrics name steps so; a step keeps its name while steps of other names come and go.
    """
    names: list[str] = []
    for step in steps:
        # A plugin may itself be called "http 2".
        numbered = (f"{step.name} {number}" for number in count(2))
        names.append(next(name for name in chain([step.name], numbered) if name not in names))
    return names
