"""What a step does, as a text that changes whenever that changes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from mess.config.load import Loaded
from mess.config.model import StepSpec
from mess.config.scope import HOOK

_LARGEST_FILE = 4 * 1024 * 1024
_LONGEST_NAME = 1000


def identity(spec: StepSpec, loaded: Loaded) -> str:
    """A hash of what a pipeline's entry does with events: its name, its options with the contents of the files that
    they name, and the source of a user's function. How it is retried is no part of it."""
    found = sha256(_json([spec.name, spec.config]))
    reference = function_of(spec, loaded)
    if reference is None:
        paths = [loaded.directory / text for text in _texts(spec.config) if 0 < len(text) <= _LONGEST_NAME]
    else:
        # A function is given the whole config.
        found.update(_json([reference, loaded.tree]))
        paths = _source(loaded.functions.get(reference))
    for path in paths:
        found.update(_content(path))
    return found.hexdigest()


def function_of(spec: StepSpec, loaded: Loaded) -> str | None:
    """The reference of the user's function that is a pipeline's entry; None for other steps."""
    name = spec.name
    return name.removeprefix(HOOK) if name.startswith(HOOK) else loaded.config.plugins.get(name)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _source(function: Callable[..., Any] | None) -> list[Path]:
    try:
        return [] if function is None else [Path(inspect.getfile(inspect.unwrap(function)))]
    except TypeError:
        return []  # it is not written in Python


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _content(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            return path.read_bytes()
    except (OSError, ValueError):
        pass
    return b""
