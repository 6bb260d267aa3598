"""The secrets of a config: values of options that are declared secret, and contents of files."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from mess import steps
from mess.config.document import Document, Path, Source
from mess.config.model import Config
from mess.config.pipelines import entries, step_name
from mess.errors import ConfigError
from mess.options.secret import SHORTEST, Part, Secret, names_a_secret, whole
from mess.options.sections import for_options
from mess.telemetry.redact import redacted

HIDDEN = "***"
"""What is shown in place of a secret."""

_PUBLIC_HEADERS = frozenset({"accept", "content-type", "user-agent"})


class Secrets:
    """All secrets of a config, valid or not: the options declared secret, and contents of files.

    Values from the environment are secret in headers and in the options of user functions, whose meaning MESS does not
    know.
    """

    def __init__(self, document: Document) -> None:
        self._parts = list(declared(Config, document.data))
        functions: set[Path] = set()
        for path, entry in entries(document.data):
            place = (*path, "config")
            model = _options(entry, document.data)
            if model is None:
                functions.add(place)
            elif isinstance(entry, dict):
                self._parts += declared(model, entry.get("config"), place)
        self._functions = functions
        self._declared = {place for _, place in self._parts}
        self._hidden: set[Path] = set()
        for source in document.sources:
            if self._is_secret(source):
                if source.value and (source.is_whole or len(source.value) < SHORTEST):
                    self._hidden.add(source.path)
                texts = {source.value, *source.value.splitlines()}
                self._parts += [(Part(text, own=False), source.path) for text in texts]
        self._short: dict[Path, set[str]] = {}
        for part, place in self._parts:
            if part.own and 0 < len(part.text) < SHORTEST:
                self._short.setdefault(place, set()).add(part.text)

    @property
    def texts(self) -> list[str]:
        """The texts that no message may contain."""
        return [part.text for part, _ in self._parts]

    @property
    def too_short(self) -> list[Path]:
        """The options whose secrets are too short to search for."""
        return [path for part, path in self._parts if part.own and 0 < len(part.text) < SHORTEST]

    def shown(self, path: Path, value: Any) -> Any:
        """What may be shown of a value in the config: the value with `***` in place of what the process redacts.

        A value is `***` as a whole if it contains a secret that is too short to search for, or if it is an option of a
        user function that is named like a secret.
        """
        if path in self._hidden or self._is_named_like_one(path):
            return HIDDEN
        clean = redacted(value)
        if isinstance(clean, str):
            for length in range(len(path) + 1):
                if any(text in clean for text in self._short.get(path[:length], ())):
                    return HIDDEN  # its places among *** would tell which one it is
        return clean

    def _is_named_like_one(self, path: Path) -> bool:
        """Whether a value is in an option of a user function whose name, or that of an outer one, is a secret's."""
        start = next((length for length in range(len(path)) if path[:length] in self._functions), len(path))
        return any(isinstance(part, str) and names_a_secret(part) for part in path[start:])

    def _is_secret(self, source: Source) -> bool:
        path = source.path
        if any(path[:length] in self._functions for length in range(len(path))):
            return True
        if source.is_file:
            # A value that is a whole file, and that declares which parts are secret, needs no more.
            return not (source.is_whole and path in self._declared)
        return len(path) > 1 and path[-2] == "headers" and str(path[-1]).lower() not in _PUBLIC_HEADERS


def declared(kind: Any, value: Any, path: Path = ()) -> Iterator[tuple[Part, Path]]:
    """The secrets in a value as the user wrote it, for options of this type, with the options that contain them.

    Yields at least an empty secret for each such option.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, Secret)]
        for mark in marks:
            yield Part("", own=False), path
            yield from ((part, path) for part in mark.parts(value))
        if not marks or arguments[0] is not SecretStr:
            yield from declared(arguments[0], value, path)
    elif origin in (Union, UnionType):
        for one in arguments:
            yield from declared(one, value, path)
    elif kind is SecretStr:
        yield from ((part, path) for part in whole(value))
    elif origin is dict and isinstance(value, dict):
        for key, inner in value.items():
            yield from declared(arguments[1], inner, (*path, key))
    elif origin in (list, tuple) and isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from declared(arguments[0], inner, (*path, index))
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        for name, field in kind.model_fields.items():
            inner = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            for key in {name, field.alias or name} & value.keys():
                yield from declared(inner, value[key], (*path, key))


def _options(entry: Any, data: Any) -> type[BaseModel] | None:
    """The options model of a pipeline's entry; None for a function, and for an entry that is not a step."""
    name = step_name(entry)
    plugins = data.get("plugins")
    if not isinstance(name, str) or (isinstance(plugins, dict) and name in plugins):
        return None
    try:
        model = steps.config_class(name)
    except (KeyError, ConfigError):  # reported where the step is named
        return None
    try:
        return for_options(model, entry.get("config") if isinstance(entry, dict) else None)
    except ConfigError:  # reported at the option that selects it
        return model
