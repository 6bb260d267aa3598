"""Steps of installed packages, registered in the entry point group `mess.steps`."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from mess.errors import ConfigError
from mess.steps.base import StepConfig

GROUP = "mess.steps"
"""The name of an entry point in this group is the step's name, its value is `package.module:ConfigClass`."""


def names() -> list[str]:
    """The names of all steps that installed packages register."""
    return sorted(_found())


def origin(name: str) -> str:
    """The packages that have a step called `name`, with their versions. Raises KeyError if there are none."""
    return " and ".join(sorted(map(_distribution, _found()[name])))


@cache
def config_class(name: str) -> type[StepConfig]:
    """The options class of the step called `name`; imports its package only now.

    Raises KeyError if no package has a step of this name. Raises ConfigError, with the package's name, if the step
    cannot be imported, is not a step, or exists in several packages.
    """
    first, *others = _found()[name]
    if others:
        raise ConfigError(
            f'the step "{name}" is in more than one package: {origin(name)}; uninstall all but one of them'
        )
    where = f'the step "{name}" of the package {_distribution(first)} cannot be used'
    try:
        found = first.load()
    except (Exception, SystemExit) as error:  # a package may raise anything
        raise ConfigError(f"{where}: {first.value} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, StepConfig)):
        raise ConfigError(f"{where}: {first.value} is not a class that derives from mess.StepConfig")
    if getattr(found, "name", None) != name:
        raise ConfigError(f'{where}: {first.value} must have the same name: name: ClassVar[str] = "{name}"')
    return found


@cache
def _found() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module
