"""What an event should contain without excluded fields, in a few lines of Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Names = tuple[str, ...]


def without(event: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The change event without the fields at `paths`."""
    excluded = [tuple(path.split(".")) for path in paths]
    found = dict(event)
    for place in ("fullDocument", "fullDocumentBeforeChange"):
        if place in found:
            found[place] = _cleaned(found[place], excluded)
    if "updateDescription" in found:
        found["updateDescription"] = _update(found["updateDescription"], excluded)
    return found


def _update(update: Mapping[str, Any], excluded: list[Names]) -> dict[str, Any]:
    found = dict(update)
    found["updatedFields"] = {
        key: _cleaned(value, _below(key, excluded))
        for key, value in update["updatedFields"].items()
        if not _is_excluded(key, excluded)
    }
    found["removedFields"] = [key for key in update["removedFields"] if not _is_excluded(key, excluded)]
    if "truncatedArrays" in found:
        arrays = update["truncatedArrays"]
        found["truncatedArrays"] = [each for each in arrays if not _is_excluded(each["field"], excluded)]
    if "disambiguatedPaths" in found:
        paths = update["disambiguatedPaths"].items()
        found["disambiguatedPaths"] = {key: path for key, path in paths if not _is_excluded(key, excluded)}
    return found


def _names(key: str) -> Names:
    first, *later = key.split(".")
    return (first, *(name for name in later if not (name.isascii() and name.isdecimal())))


def _is_excluded(key: str, excluded: list[Names]) -> bool:
    names = _names(key)
    return any(names[: len(path)] == path for path in excluded)


def _below(key: str, excluded: list[Names]) -> list[Names]:
    names = _names(key)
    return [path[len(names) :] for path in excluded if path[: len(names)] == names]


def _cleaned(value: Any, excluded: list[Names]) -> Any:
    if isinstance(value, list):
        return [_cleaned(each, excluded) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _cleaned(inner, [path[1:] for path in excluded if path[0] == key])
        for key, inner in value.items()
        if (key,) not in excluded
    }
