"""Finds steps by the name that users write in a pipeline: built-in ones and those of installed packages.

Start reading at `base` (the extension point), then at any step.
"""

from __future__ import annotations

from importlib import import_module

from mess.errors import ConfigError
from mess.steps import packages
from mess.steps.base import StepConfig

_HOMES = {
    "log": "mess.steps.log:LogConfig",
    "field-map": "mess.steps.field_map:FieldMapConfig",
    "http": "mess.steps.http.step:HttpConfig",
    "queue": "mess.steps.queue.step:QueueConfig",
}


def names() -> list[str]:
    """The names of all built-in steps."""
    return list(_HOMES)


def config_class(name: str) -> type[StepConfig]:
    """The options class of the step called `name`; imports the step's module only now.

    Raises KeyError if no step has this name, ConfigError if the package of the step is broken.
    """
    if name not in _HOMES:
        return packages.config_class(name)
    module, _, attribute = _HOMES[name].partition(":")
    found: type[StepConfig] = getattr(import_module(module), attribute)
    return found


def installed() -> dict[str, type[StepConfig]]:
    """The steps of installed packages, by name, except broken ones and those named like a built-in step."""
    found: dict[str, type[StepConfig]] = {}
    for name in packages.names():
        if name not in _HOMES:
            try:
                found[name] = packages.config_class(name)
            except ConfigError:
                continue  # reported where the step is used
    return found
