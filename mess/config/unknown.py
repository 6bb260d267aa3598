"""Messages for unknown keys: which key was probably meant, or where it belongs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mess import steps
from mess.config.document import Path
from mess.config.model import StepSpec
from mess.errors import ConfigError
from mess.similar import closest_name, did_you_mean
from mess.steps.base import StepConfig

_BESIDE_CONFIG = StepSpec.model_fields.keys() - {"name", "config"}


def unknown_key(model: type[BaseModel], data: Any, path: Path) -> str:
    """The message for an unknown key at a path in a model's data."""
    key = str(path[-1])
    for part in path[:-1]:
        data = data[part]
    if len(path) > 2 and path[-3] == "pipeline" and (hint := _step_hint(key, data)):
        return f"unknown key; {hint}"
    if issubclass(model, StepConfig) and len(path) == 1 and key in _BESIDE_CONFIG:
        return f"unknown key; it belongs beside config, as in {{name: {model.name}, config: {{…}}, {key}: …}}"
    known: dict[str, FieldInfo] = {}
    for one in _models(model, path[:-1]):
        known |= {field.alias or name: field for name, field in one.model_fields.items()}
    if closest_name(key, known) is None:
        for name, field in known.items():
            if any(key in inner.model_fields for inner in _model_classes(field.annotation)):
                return f"unknown key; it belongs under {name}, as in {name}: {{{key}: …}}"
    return "unknown key" + did_you_mean(key, known)


def _step_hint(key: str, entry: Any) -> str:
    if key in steps.names():
        return f"write {{name: {key}, config: {{…}}}}"
    name = entry.get("name")
    if isinstance(name, str) and key in _options(name):
        return f"it belongs under config, as in config: {{{key}: …}}"
    return ""


def _options(name: str) -> Collection[str]:
    try:
        return steps.config_class(name).model_fields
    except (KeyError, ConfigError):  # reported where the step is named
        return ()


def _models(model: type[BaseModel], path: Path) -> Iterator[type[BaseModel]]:
    annotations: list[Any] = [model]
    for part in path:
        annotations = [inner for one in annotations for inner in _inside(one, part)]
    for one in annotations:
        yield from _model_classes(one)


def _model_classes(annotation: Any) -> list[type[BaseModel]]:
    return [one for one in _branches(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]


def _branches(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _branches(one)
    else:
        yield annotation


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    for one in _branches(annotation):
        origin = get_origin(one)
        if origin is dict:
            yield get_args(one)[1]
        elif origin in (list, tuple):
            yield get_args(one)[0]
        elif isinstance(one, type) and issubclass(one, BaseModel):
            for name, field in one.model_fields.items():
                if part in (name, field.alias):
                    yield field.annotation
