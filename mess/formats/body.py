"""Static knowledge about an event's body: which fields it can have, before any event flows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mess.formats.paths import Path


@dataclass(frozen=True, slots=True)
class Shape:
    """The possible values of something: an object with exactly these `fields`, or anything if None.

    `origin` is the path in the change event that the value comes from, or None if it does not come from there.
    """

    fields: Mapping[str, Shape] | None = None
    origin: Path | None = None

    def find(self, path: Path) -> Shape | Unknown:
        """The shape at a path; Unknown if nothing can ever be there."""
        at = self
        for index, part in enumerate(path):
            if at.fields is None:
                return Shape(None, None if at.origin is None else at.origin + path[index:])
            if part not in at.fields:
                return Unknown(path[:index], part, tuple(at.fields))
            at = at.fields[part]
        return at

    def put(self, path: Path, value: Shape) -> Shape:
        """The shape after setting a value at a path, as `mess.formats.paths.put` does."""
        first, *rest = path
        if self.fields is None:
            return self
        inner = self.fields.get(first, EMPTY).put(tuple(rest), value) if rest else value
        return Shape({**self.fields, first: inner})

    def remove(self, path: Path) -> Shape:
        """The shape after removing a path."""
        first, *rest = path
        if self.fields is None or first not in self.fields:
            return self
        if not rest:
            return Shape({name: inner for name, inner in self.fields.items() if name != first}, self.origin)
        return Shape({**self.fields, first: self.fields[first].remove(tuple(rest))}, self.origin)


class Unknown(NamedTuple):
    """`name` is not a field of the object at the path `within`; `known` are that object's fields."""

    within: Path
    name: str
    known: tuple[str, ...]


ANYTHING = Shape()
"""A value about which nothing is known."""
EMPTY = Shape({})
"""An empty object."""


def _change(path: Path, fields: Iterable[str] | None) -> Shape:
    if fields is None:
        return Shape(None, path)
    return Shape({name: Shape(None, (*path, name)) for name in fields}, path)


# https://www.mongodb.com/docs/manual/reference/change-events/, including fields of newer servers.
_FIELDS: dict[str, tuple[str, ...] | None] = {
    "_id": None,
    "operationType": (),
    "clusterTime": None,
    "wallTime": (),
    "ns": ("db", "coll"),
    "nsType": (),
    "to": ("db", "coll"),
    "documentKey": None,
    "fullDocument": None,
    "fullDocumentBeforeChange": None,
    "updateDescription": ("updatedFields", "removedFields", "truncatedArrays", "disambiguatedPaths"),
    "collectionUUID": None,
    "operationDescription": None,
    "stateBeforeChange": None,
    "txnNumber": (),
    "lsid": None,
    "reshardingUUID": None,
    "fromMigrate": (),
}
CHANGE = Shape({name: _change((name,), fields) for name, fields in _FIELDS.items()}, ())
"""The shape of a change event."""
