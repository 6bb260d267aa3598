"""Components by name: those that come with MESS, and those that installed packages register as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from mess.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """The components of one kind.

    `kind` is what messages call one of them; packages register theirs in the entry point group `mess.<kind>s`, where
    the name of an entry point is the component's, and its value is `package.module:Class`. The class derives from
    `base`, which is known to the authors of packages as `base_name`. `built_in` has the same values by name. With
    `named`, the class has the name too, as its attribute `name`.

    A module is imported when its component is first used, and packages are looked for only if MESS has no component of
    a name.
    """

    def __init__(
        self, kind: str, base: type[Any], base_name: str, built_in: Mapping[str, str], *, named: bool = False
    ) -> None:
        self.kind = kind
        self.group = f"mess.{kind}s"
        self._base = base
        self._base_name = base_name
        self._built_in = built_in
        self._named = named
        self._loaded: dict[str, type[T]] = {}

    def names(self) -> list[str]:
        """The names of all built-in components."""
        return list(self._built_in)

    def find(self, name: str) -> type[T]:
        """The class of the component called `name`.

        Raises KeyError if there is none. Raises ConfigError, with the package's name, if that of a package cannot be
        imported, is not such a component, or exists in several packages.
        """
        if name not in self._loaded:
            self._loaded[name] = self._own(name) if name in self._built_in else self._packaged(name)
        return self._loaded[name]

    def packaged(self) -> list[str]:
        """The names of all components that installed packages register."""
        return sorted(_points(self.group))

    def origin(self, name: str) -> str:
        """The packages that have a component called `name`, with their versions. Raises KeyError if there are none."""
        return " and ".join(sorted(map(_distribution, _points(self.group)[name])))

    def about(self, name: str) -> str:
        """`the step "tag" of the package acme-tag 1.0`. Raises KeyError if no package has it."""
        return f'the {self.kind} "{name}" of the package {self.origin(name)}'

    def installed(self) -> dict[str, type[T]]:
        """The components of installed packages, by name, except broken ones and those named like a built-in one."""
        found: dict[str, type[T]] = {}
        for name in self.packaged():
            if name not in self._built_in:
                try:
                    found[name] = self.find(name)
                except ConfigError:
                    continue  # reported where the component is used
        return found

    def broken(self) -> list[str]:
        """What is wrong with components of installed packages, one message for each that cannot be used."""
        found: list[str] = []
        for name in self.packaged():
            try:
                self.find(name)
            except ConfigError as error:
                found.append(str(error))
        return found

    def _own(self, name: str) -> type[T]:
        module, _, attribute = self._built_in[name].partition(":")
        found: type[T] = getattr(import_module(module), attribute)
        return found

    def _packaged(self, name: str) -> type[T]:
        first, *others = _points(self.group)[name]
        if others:
            what = f'the {self.kind} "{name}" is in more than one package'
            raise ConfigError(f"{what}: {self.origin(name)}; uninstall all but one of them")
        where = f"{self.about(name)} cannot be used"
        try:
            found = first.load()
        except (Exception, SystemExit) as error:  # a package may raise anything
            raise ConfigError(f"{where}: {first.value} cannot be imported: {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise ConfigError(f"{where}: {first.value} is not a class that derives from {self._base_name}")
        if self._named and getattr(found, "name", None) != name:
            raise ConfigError(f'{where}: {first.value} must have the same name: name: ClassVar[str] = "{name}"')
        return found


@cache
def _points(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module
