"""The effective config: every value that applies, and where it was said. Shows no secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from mess import steps
from mess.config.chains import Chain, chain_of, innermost
from mess.config.document import Path, show
from mess.config.load import Loaded
from mess.config.model import Config, Scope, StepSpec
from mess.config.scope import DEFAULTS
from mess.config.secrets import Secrets
from mess.options.values import parse_duration, parse_size, written_duration, written_size
from mess.telemetry.redact import redact, redacted

_ABSENT = object()


class EffectiveValue(BaseModel):
    """A value of the config, and where it was said."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    path: str
    """Where it is in the config: `databases.shop.pipeline[0].config.endpoint`."""
    keys: tuple[str | int, ...]
    """The same as keys and list indexes; of what applies to a collection, beginning at the scoped option."""
    value: Any
    """A text, number, boolean or null, a list of these, or an empty mapping. Secrets in it are `***`."""
    source: Literal["file", "environment", "command line", "default"]
    """What set it."""
    file: str | None = None
    """The config file, if it is said there."""
    line: int | None = None
    """The line in that file."""
    variables: tuple[str, ...] = ()
    """The environment variable that set it, or what its `${…}` hold: `NAME`, `file:/path`."""

    @property
    def origin(self) -> str:
        """Where it was said, in a few words: `config.yml:12, ${NAME}`."""
        if self.source == "environment":
            return f"environment variable {', '.join(self.variables)}"
        if self.source != "file":
            return self.source
        return ", ".join([f"{self.file}:{self.line}", *(f"${{{name}}}" for name in self.variables)])


def effective(loaded: Loaded) -> list[EffectiveValue]:
    """Every value of a config, those that the user wrote first, in each section."""
    return list(_Reader(loaded).section(loaded.config, loaded.tree, ()))


def applying(loaded: Loaded, database: str, collection: str = "") -> list[EffectiveValue] | None:
    """The scoped options that apply to a collection, or without it to events of the whole database, each as the most
    specific scope has it. None if the config does not select it."""
    chain = chain_of(loaded.config, database, collection)
    return None if chain is None else list(_Reader(loaded).innermost(chain))


class _Reader:
    """Reads valid options side by side with what the user wrote."""

    def __init__(self, loaded: Loaded) -> None:
        self._plugins = loaded.config.plugins
        self._tree = loaded.tree
        self._document = loaded.document
        self._secrets = Secrets(loaded.document)
        self._variables: dict[Path, list[str]] = {}
        for source in loaded.document.sources:
            self._variables.setdefault(source.path, []).append(source.name)
        self._shown_from = 0
        self._key = cache(redact)

    def section(self, options: BaseModel, written: Any, path: Path) -> Iterator[EffectiveValue]:
        """The values of a group of options. `written` is what the user wrote for it."""
        if isinstance(options, StepSpec) and isinstance(written, str):
            written = {"name": written}
        written = written if isinstance(written, Mapping) else {}
        fields = {_key(name, field, written): (name, field) for name, field in type(options).model_fields.items()}
        empty = isinstance(options, Scope)
        for key in [*(key for key in written if key in fields), *(key for key in fields if key not in written)]:
            name, field = fields[key]
            value, given = getattr(options, name), written.get(key, _ABSENT)
            if isinstance(options, Scope) and given is _ABSENT:
                if not isinstance(options, Config):
                    continue  # inherited
                value = DEFAULTS.get(name) if value is None else value
            empty = False
            if isinstance(options, StepSpec) and name == "config":
                yield from self._config(options, given, (*path, key))
            else:
                yield from self.option(value, field, given, (*path, key))
        if empty and path:
            yield self._written({}, path)

    def option(self, value: Any, field: FieldInfo, given: Any, path: Path) -> Iterator[EffectiveValue]:
        """The values of an option: `value` as it applies, `given` as the user wrote it."""
        if isinstance(value, StepSpec) or (
            isinstance(value, BaseModel) and (given is _ABSENT or given is None or isinstance(given, Mapping))
        ):
            yield from self.section(value, given, path)
        elif (entries := _entries(value, given)) is not None:
            for key, inner, entry in entries:
                yield from self.option(inner, field, entry, (*path, key))
        elif given is _ABSENT:
            yield self._made(path, value=redacted(_plain(value, field)), source="default")
        else:
            yield from self._leaves(_typed(given, value), path)

    def innermost(self, chain: Chain) -> Iterator[EffectiveValue]:
        """The scoped options as they apply to a chain of scopes."""
        hook = innermost(chain, "change_hook")[1]
        for name, field in Scope.model_fields.items():
            if name == ("change_hook" if hook is None else "pipeline"):
                continue  # the other one replaces it
            path, value = innermost(chain, name)
            written: Any = self._tree
            for part in path:
                written = written[part] or {}
            key = _key(name, field, written)
            self._shown_from = len(path)
            given = written.get(key, _ABSENT)
            if value is None:
                value, given = DEFAULTS[name], _ABSENT
            yield from self.option(value, field, given, (*path, key))

    def _config(self, spec: StepSpec, given: Any, path: Path) -> Iterator[EffectiveValue]:
        """A step's own options."""
        if spec.name not in self._plugins:
            yield from self.section(steps.config_class(spec.name).model_validate(spec.config), given, path)
        elif given is not _ABSENT:
            yield from self._leaves(given or {}, path)

    def _leaves(self, value: Any, path: Path) -> Iterator[EffectiveValue]:
        """The values within a value that the user wrote. A list of single values is one of them."""
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                yield from self._leaves(inner, (*path, key))
        elif isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
            for index, inner in enumerate(value):
                yield from self._leaves(inner, (*path, index))
        else:
            yield self._written(value, path)

    def _written(self, value: Any, path: Path) -> EffectiveValue:
        places, shown = [path], self._secrets.shown(path, value)
        if isinstance(value, list):
            places = [(*path, index) for index in range(len(value))]
            shown = [self._secrets.shown(*item) for item in zip(places, value, strict=True)]
        origin, line = self._document.place(path)
        if origin is None:
            names = tuple(dict.fromkeys(name for place in places for name in self._variables.get(place, ())))
            return self._made(path, value=shown, source="file", file=self._document.file, line=line, variables=names)
        if origin.variable is None:
            return self._made(path, value=shown, source="command line")
        return self._made(path, value=shown, source="environment", variables=(origin.variable,))

    def _made(self, path: Path, **values: Any) -> EffectiveValue:
        keys = tuple(self._key(part) if isinstance(part, str) else part for part in path)
        return EffectiveValue(path=show(keys), keys=keys[self._shown_from :], **values)


def _key(name: str, field: FieldInfo, written: Mapping[str, Any]) -> str:
    """An option's name as the user wrote it, or would write it."""
    return name if name in written or field.alias is None else field.alias


def _entries(value: Any, given: Any) -> list[tuple[str | int, BaseModel, Any]] | None:
    """The groups of options in a mapping or a list, by key or index, with what the user wrote for each; None if the
    value is neither, or was written in another form."""
    found: list[tuple[str | int, Any, Any]] = []
    if isinstance(value, dict) and isinstance(given, Mapping):
        found = [(key, inner, given.get(key)) for key, inner in value.items()]
    elif isinstance(value, tuple) and given is _ABSENT:
        found = [(index, inner, _ABSENT) for index, inner in enumerate(value)]
    elif isinstance(value, tuple) and isinstance(given, list) and len(given) == len(value):
        found = [(index, *pair) for index, pair in enumerate(zip(value, given, strict=True))]
    return found if found and all(isinstance(inner, BaseModel) for _, inner, _ in found) else None


def _typed(given: Any, value: Any) -> Any:
    """A value as the user wrote it; but a number or boolean that came from a variable as such, and YAML's false as the
    `off` that it stands for."""
    if isinstance(given, str) and isinstance(value, (bool, int)) and given.strip().lower() == str(value).lower():
        return value
    return value if given is False and isinstance(value, str) else given


def _plain(value: Any, field: FieldInfo) -> Any:
    """A default as a user would write it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for part in _marks(field.annotation, field.metadata):
            function = getattr(part, "func", None)
            if function is parse_duration:
                return written_duration(value)
            if function is parse_size:
                return written_size(int(value))
        return int(value) if value == int(value) else value
    return value


def _marks(annotation: Any, metadata: Any) -> Iterator[Any]:
    """What an option's type is annotated with, at any depth."""
    yield from metadata
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _marks(argument, ())
