"""The steps that come with MESS, one file each, found by the name that users write in a pipeline."""

from __future__ import annotations

from importlib import import_module

from mess.step import StepConfig

_HOMES = {
    "log": "mess.steps.log:LogConfig",
    "field-map": "mess.steps.field_map:FieldMapConfig",
    "http": "mess.steps.http:HttpConfig",
}


def names() -> list[str]:
    """The names of all steps that come with MESS."""
    return list(_HOMES)


def config_class(name: str) -> type[StepConfig]:
    """The options of the step called `name`; its module is imported only now.

    Raises KeyError for a name that no step has.
    """
    module, _, attribute = _HOMES[name].partition(":")
    found: type[StepConfig] = getattr(import_module(module), attribute)
    return found
