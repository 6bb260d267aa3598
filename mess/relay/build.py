"""From a pipeline's entry to its step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mess import steps
from mess.step import Context, Step
from mess.steps.function import FunctionStep


def build_step(name: str, config: Mapping[str, Any], plugins: Mapping[str, str], context: Context) -> Step:
    """The step called `name`: one of the user's `plugins` (a name and a function's reference), else one of MESS's own.

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
    return steps.config_class(name).model_validate(config).describe() if name in steps.names() else name
