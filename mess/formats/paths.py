"""Paths into a body: `fullDocument.items.0.sku`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MISSING: Final = object()
"""Returned by `get` if a path does not exist; None is a value."""

Path = tuple[str, ...]


def parse_path(text: str) -> Path:
    """The parts of a path.

    Raises ValueError for an empty path or an empty part.
    """
    parts = tuple(text.split("."))
    if not all(parts):
        raise ValueError(f"{text!r} is not a path; write keys and array indexes separated by dots, as in items.0.sku")
    return parts


def get(value: Any, path: Path) -> Any:
    """The value at a path, or MISSING. In an array, a number is an index."""
    for part in path:
        if isinstance(value, Mapping):
            if part not in value:
                return MISSING
            value = value[part]
        elif isinstance(value, list) and _within(part, value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def put(target: dict[str, Any], path: Path, value: Any) -> None:
    """Set the value at a path, creating objects on the way and replacing anything else."""
    for part in path[:-1]:
        inner = target.get(part)
        if not isinstance(inner, dict):
            inner = target[part] = {}
        target = inner
    target[path[-1]] = value


def remove(target: Any, path: Path) -> None:
    """Remove the value at a path, if there is one; an array element is deleted from its array."""
    holder = get(target, path[:-1])
    last = path[-1]
    if isinstance(holder, dict):
        holder.pop(last, None)
    elif isinstance(holder, list) and _within(last, holder):
        del holder[int(last)]


def _within(part: str, array: list[Any]) -> bool:
    # `isdigit` also accepts ², which is not a number, and Python refuses to parse thousands of digits.
    return part.isdecimal() and len(part) < 10 and int(part) < len(array)
