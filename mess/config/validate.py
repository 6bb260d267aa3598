"""Validates data against a model and reports each mistake at its place in the document."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mess.config.document import Document, Path
from mess.config.messages import message_for
from mess.config.unknown import unknown_key

M = TypeVar("M", bound=BaseModel)

_MISMATCHES = ("_type", "_attributes_type")


def validate(model: type[M], data: Any, document: Document, base: Path = ()) -> M | None:
    """The model's instance for data located at `base` in a document; None, with problems reported, if it does not
    fit."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found: dict[Path, list[Any]] = {}
        for detail in error.errors(include_url=False):
            found.setdefault(_path(detail, data), []).append(detail)
    above = {path[:length] for path in found for length in range(len(path))}
    for path, details in found.items():
        # Of a union's branches, the one that validated furthest is probably the one that was meant.
        deeper = path in above
        meant = [detail for detail in details if not _mismatched(detail)]
        if deeper and not meant:
            continue
        place = base + path
        secret = document.is_secret(place)
        messages = [
            unknown_key(model, data, path)
            if detail["type"] == "extra_forbidden"
            else message_for(detail, secret=secret)
            for detail in meant or details
        ]
        first, *others = dict.fromkeys(messages)
        document.report(", or ".join([first, *(message.removeprefix("must be ") for message in others)]), place)
    return None


def _mismatched(detail: Any) -> bool:
    """Whether a value is of another type than a union's branch needs."""
    if detail["type"] == "literal_error":
        return isinstance(detail["input"], (dict, list))
    return bool(detail["type"].endswith(_MISMATCHES))


def _path(detail: Any, data: Any) -> Path:
    """The path of an error in the data: pydantic's location, without the names of union branches."""
    path: list[str | int] = []
    for index, part in enumerate(detail["loc"]):
        if isinstance(data, dict):
            if part not in data and part == "changeHook":
                part = "change_hook"
            last = index == len(detail["loc"]) - 1 and detail["type"] == "missing"
            if part in data or last:
                path.append(part)
                data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return tuple(path)
