"""The steps, found by the name that users write in a pipeline: built-in ones and those of installed packages.

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
    """The names of all steps that come with MESS."""
    return list(_HOMES)


def config_class(name: str) -> type[StepConfig]:
    """The options of the step called `name`; its module is imported only now.

    Raises KeyError for a name that no step has, ConfigError for one whose package is broken.
    """
    if name not in _HOMES:
        return packages.config_class(name)
    module, _, attribute = _HOMES[name].partition(":")
    found: type[StepConfig] = getattr(import_module(module), attribute)
    return found


def installed() -> dict[str, type[StepConfig]]:
    """The steps of installed packages, by name, without those that are broken or have the name of one of MESS's own."""
    found: dict[str, type[StepConfig]] = {}
    for name in packages.names():
        if name not in _HOMES:
            try:
                found[name] = packages.config_class(name)
            except ConfigError:
                continue  # which is told where the step is used
    return found
