"""The paths of a scope's `exclude`: fields of documents that never leave MongoDB."""

from __future__ import annotations

from collections.abc import Container, Iterable

_DEEPEST = 100
"""How deep MongoDB lets documents be nested."""


def checked(path: str) -> str:
    """The path, unchanged. Raises ValueError for one that cannot be excluded."""
    parts = path.split(".")
    if not path:
        raise ValueError("is empty; write the path of a field, such as card.number")
    if not all(parts):
        raise ValueError("has an empty part; write names with single dots between them, as in card.number")
    if any(part.startswith("$") for part in parts):
        raise ValueError("has a name that begins with $, which no path can contain; exclude the field that contains it")
    if parts[0] == "_id":
        raise ValueError("_id cannot be excluded: it identifies the document in every event, and in resume tokens")
    if any(part.isdecimal() and part.isascii() for part in parts[1:]):
        raise ValueError(
            "has a number, which updates do not tell from an array's index; leave an index out, as in cards.number for "
            "a field of all elements, or exclude the field that contains it"
        )
    if "\0" in path or len(parts) > _DEEPEST:
        raise ValueError("is not the path of a field that MongoDB can store")
    return path


def covering(path: str, others: Container[str]) -> str | None:
    """The outermost of `others` that contains the field at `path`, so that excluding it excludes both; None without
    one."""
    parents = (path[:index] for index, character in enumerate(path) if character == ".")
    return next((parent for parent in parents if parent in others), None)


def minimal(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that exclude the same fields: each once, in a fixed order, without those that another one covers."""
    wanted = set(paths)
    return tuple(sorted(path for path in wanted if covering(path, wanted) is None))
