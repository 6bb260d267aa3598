"""Options that select a component, such as a format, which may have a section of options of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, create_model

from mess.errors import ConfigError, Problem
from mess.options.base import Options
from mess.registry import Registry

M = TypeVar("M", bound=Options)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Sections(Generic[T]):
    """Gives a model a section for each component of a registry, named like the component. Decorates the model.

    `option` is the name of the model's option that selects a component. `selected` returns the component's name for
    that option's value, as the user wrote it, or None; by default the value is a name, and no other value is allowed.
    `options` returns the model of a component's section, which is left out if it has no fields. `about` describes a
    section; `{}` stands for the first sentence of its docstring. `check` validates a section's value.
    """

    registry: Registry[T]
    option: str
    options: Callable[[type[T]], type[Options]]
    selected: Callable[[Any], str | None] | None = None
    about: str = "{}."
    check: Callable[..., Any] = lambda value: value

    def __call__(self, model: type[M]) -> type[M]:
        """The model with the sections of all built-in components."""
        made = _extended(model, (_Added(self, tuple(self.registry.names())),))
        _SECTIONS[made] = self
        return made

    def name(self, given: Any) -> str | None:
        """The name that the options, as the user wrote them, select, unless it is that of a built-in component."""
        value = given.get(self.option) if isinstance(given, Mapping) else None
        name = self.selected(value) if self.selected else value
        return name if isinstance(name, str) and name not in self.registry.names() else None

    def fields(self, model: type[Options], added: _Added) -> dict[str, Any]:
        """What a model needs in addition, as arguments of `create_model`."""
        found: dict[str, Any] = {}
        if self.selected is None:
            allowed = tuple(dict.fromkeys([*self.registry.names(), *added.names, *added.others]))
            found[self.option] = (Literal[allowed], model.model_fields[self.option])
        for name in added.names:
            options = self.options(self.registry.find(name))
            if options.model_fields:
                about = self.about.format((options.__doc__ or name).partition(".")[0])
                found[name] = (Annotated[options | None, AfterValidator(self.check)], Field(None, description=about))
        return found


class _Added(NamedTuple):
    """Components whose sections a model gets, and the names of others that exist."""

    sections: Sections[Any]
    names: tuple[str, ...]
    others: tuple[str, ...] = ()


_SECTIONS: dict[type[Options], Sections[Any]] = {}
_ORIGINS: dict[type[Options], type[Options]] = {}


def for_options(model: type[M], given: Any) -> type[M]:
    """The model for these options, as the user wrote them: with the sections of components of installed packages that
    they select.

    Raises ConfigError, at the option that selects it, if such a component cannot be used.
    """
    model = _ORIGINS.get(model, model)  # type: ignore[assignment]
    added: list[_Added] = []
    for sections in _of(model):
        if (name := sections.name(given)) is None:
            continue
        packaged = tuple(sections.registry.packaged())
        if name in packaged:
            try:
                sections.registry.find(name)
                if _is_taken(name, model, added):
                    raise ConfigError(f"{sections.registry.about(name)} cannot be used: an option has the same name")
            except ConfigError as error:
                raise ConfigError([Problem(str(error), sections.option)]) from error
        added.append(_Added(sections, (name,) if name in packaged else (), packaged))
    return _installed(model, added)


def for_all(model: type[M]) -> type[M]:
    """The model with the sections of all components of installed packages, except broken ones."""
    added: list[_Added] = []
    for sections in _of(model):
        names = (name for name in sections.registry.installed() if not _is_taken(name, model, added))
        added.append(_Added(sections, tuple(names)))
    return _installed(model, added)


def _is_taken(name: str, model: type[Options], added: Iterable[_Added]) -> bool:
    """Whether a section with this name would hide an option, or a method that the options need."""
    return name in model.model_fields or hasattr(model, name) or any(name in each.names for each in added)


def _of(model: type[Options]) -> list[Sections[Any]]:
    return [_SECTIONS[base] for base in model.__mro__ if base in _SECTIONS]


def _installed(model: type[M], added: Iterable[_Added]) -> type[M]:
    some = tuple(each for each in added if each.names or each.others)
    if not some:
        return model
    made = _extended(model, some)
    _ORIGINS[made] = model
    return made


@cache
def _extended(model: type[M], added: tuple[_Added, ...]) -> type[M]:
    fields: dict[str, Any] = {}
    for each in added:
        fields |= each.sections.fields(model, each)
    made: type[M] = create_model(
        model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields
    )
    return made
