"""What is known of an event's body before any event flows: which fields it can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mess.formats.paths import Path


@dataclass(frozen=True, slots=True)
class Shape:
    """What a value can be: an object with these `fields` and no others, or, with None, anything.

    `origin` is the path in the change event that the value comes from, None when it comes from nowhere there.
    """

    fields: Mapping[str, Shape] | None = None
    origin: Path | None = None

    def find(self, path: Path) -> Shape | Unknown:
        """The shape of what lies at a path; Unknown when nothing ever can."""
        at = self
        for index, part in enumerate(path):
            if at.fields is None:
                return Shape(None, None if at.origin is None else at.origin + path[index:])
            if part not in at.fields:
                return Unknown(path[:index], part, tuple(at.fields))
            at = at.fields[part]
        return at

    def put(self, path: Path, value: Shape) -> Shape:
        """The shape with a value set at a path, as `mess.formats.paths.put` does."""
        first, *rest = path
        if self.fields is None:
            return self
        inner = self.fields.get(first, EMPTY).put(tuple(rest), value) if rest else value
        return Shape({**self.fields, first: inner})

    def remove(self, path: Path) -> Shape:
        """The shape without what lies at a path."""
        first, *rest = path
        if self.fields is None or first not in self.fields:
            return self
        if not rest:
            return Shape({name: inner for name, inner in self.fields.items() if name != first}, self.origin)
        return Shape({**self.fields, first: self.fields[first].remove(tuple(rest))}, self.origin)


class Unknown(NamedTuple):
    """`name` is no field of what lies at the path `within`; `known` are its fields."""

    within: Path
    name: str
    known: tuple[str, ...]


ANYTHING = Shape()
"""A value of which nothing is known."""
EMPTY = Shape({})
"""A value in which nothing lies."""


def _change(path: Path, fields: Iterable[str] | None) -> Shape:
    if fields is None:
        return Shape(None, path)
    return Shape({name: Shape(None, (*path, name)) for name in fields}, path)


# https://www.mongodb.com/docs/manual/reference/change-events/ with those of newer servers.
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
"""A change event."""
