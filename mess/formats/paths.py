"""Paths into a body: `fullDocument.items.0.sku`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MISSING: Final = object()
"""What `get` gives where a path leads nowhere; None is a value."""

Path = tuple[str, ...]


def parse_path(text: str) -> Path:
    """The parts of a path.

    Raises ValueError for an empty path or an empty part.
    """
    parts = tuple(text.split("."))
    if not all(parts):
        raise ValueError(f"{text!r} is not a path; write keys and array indexes with dots between, as in items.0.sku")
    return parts


def get(value: Any, path: Path) -> Any:
    """What lies at a path: a number is an array's index where there is an array. MISSING when there is nothing."""
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
    """Set what lies at a path, making the objects on the way; whatever else stands there gives way."""
    for part in path[:-1]:
        inner = target.get(part)
        if not isinstance(inner, dict):
            inner = target[part] = {}
        target = inner
    target[path[-1]] = value


def remove(target: Any, path: Path) -> None:
    """Take out what lies at a path, if anything does; an array's element leaves its array."""
    holder = get(target, path[:-1])
    last = path[-1]
    if isinstance(holder, dict):
        holder.pop(last, None)
    elif isinstance(holder, list) and _within(last, holder):
        del holder[int(last)]


def _within(part: str, array: list[Any]) -> bool:
    # `isdigit` holds for ², which is no number, and Python refuses to read one of thousands of digits.
    return part.isdecimal() and len(part) < 10 and int(part) < len(array)
