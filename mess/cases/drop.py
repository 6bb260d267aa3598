"""Leaves fields out of change events before they are written, so that nobody reads them in a repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mess.formats.body import CHANGE, Unknown
from mess.formats.paths import parse_path
from mess.similar import did_you_mean

DOCUMENT = "fullDocument"
_DOCUMENTS = (DOCUMENT, "fullDocumentBeforeChange", "documentKey")
_UPDATE = "updateDescription"
_BY_FIELD = ("updatedFields", "disambiguatedPaths")

_Names = tuple[str, ...]


class Drops:
    """Removes the values at paths in a change event.

    A path leads through arrays: `fullDocument.items.sku` is in each of the items. A path in `fullDocument` stands for a
    field of the document, which is removed from all parts of the event that may hold it: from `fullDocument`,
    `fullDocumentBeforeChange`, `documentKey` and `updateDescription`. `unused` are the paths that were in no event.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises ValueError, with the fix, for a path that cannot be dropped."""
        self._paths = {path: _checked(path) for path in paths}
        self.unused = set(self._paths)

    def apply(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """The change without these values; the original stays as it is."""
        found = dict(change)
        for path, names in self._paths.items():
            before = found
            found = _without_field(found, names[1:]) if names[0] == DOCUMENT and names[1:] else _without(found, names)
            if found != before:
                self.unused.discard(path)
        return found


def fields_of(change: Mapping[str, Any]) -> Iterator[str]:
    """The paths, as `Drops` takes them, of all fields of documents whose values a change holds. May repeat some."""
    parts = [change.get(name) for name in _DOCUMENTS]
    update = change.get(_UPDATE)
    if isinstance(update, Mapping):
        parts.append(update.get(_BY_FIELD[0]))
    for part in parts:
        for names in _leaves(part):
            yield ".".join((DOCUMENT, *names))


def _checked(path: str) -> _Names:
    names = parse_path(path)
    found = CHANGE.find(names)
    if isinstance(found, Unknown):
        hint = f"; a field of the document is {DOCUMENT}.{path}" if not found.within else ""
        hint = did_you_mean(found.name, found.known) or hint
        raise ValueError(f'{".".join(found.within) or "a change event"} has no field "{found.name}"{hint}')
    if names in (("operationType",), ("ns",), ("ns", "db")):
        raise ValueError(f"{path} is what makes it an event of its pipeline, and cannot be left out")
    if any(name.isdecimal() for name in names):
        raise ValueError(f"{path}: leave an index out, for the field of all elements; or drop the field that holds it")
    return names


def _without_field(change: dict[str, Any], names: _Names) -> dict[str, Any]:
    """The change without a field of its document."""
    found = {**change, **{part: _without(change[part], names) for part in _DOCUMENTS if part in change}}
    update = change.get(_UPDATE)
    if isinstance(update, dict):
        update = {**update, **{part: _without(update[part], names) for part in _BY_FIELD if part in update}}
        for part in ("removedFields", "truncatedArrays"):
            if isinstance(update.get(part), list):
                update[part] = [each for each in update[part] if not _is_in(_field(each), names)]
        found[_UPDATE] = update
    return found


def _without(value: Any, names: _Names) -> Any:
    """The value without what is at a path, through arrays. Keys may be paths, as in an update's description."""
    if isinstance(value, list):
        return [_without(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        parts = _names(key)
        if not _is_in(key, names):
            found[key] = _without(inner, names[len(parts) :]) if names[: len(parts)] == parts else inner
    return found


def _is_in(key: str, names: _Names) -> bool:
    """Whether what is at `key` is the field at `names`, or a part of it."""
    return _names(key)[: len(names)] == names


def _names(key: str) -> _Names:
    """The names in a dotted key, without the indexes of arrays."""
    first, *rest = key.split(".")
    return (first, *(name for name in rest if not name.isdecimal()))


def _field(entry: Any) -> str:
    """The field of an entry of `removedFields` or `truncatedArrays`."""
    return str(entry.get("field")) if isinstance(entry, Mapping) else str(entry)


def _leaves(value: Any, names: _Names = ()) -> Iterator[_Names]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*names, *_names(key)))
    elif isinstance(value, list) and any(isinstance(each, (Mapping, list)) for each in value):
        for each in value:
            yield from _leaves(each, names)
    elif names and value != []:
        yield names
