"""Builds the stages that remove excluded fields from change events, so that their values never leave MongoDB. Pure.

In documents, MongoDB's own exclusion removes them, through arrays too. What an update changed is a mapping with dotted
keys, which no path of MongoDB's addresses. A key may be below an excluded field, or it may be a parent of one, and then
contain it in its value:

    {"card.number": "4111"}   {"card": {"number": "4111"}}   {"cards.0": {"number": "4111"}}

For a parent, the exclusion is the rest of the path. It cannot depend on a key, so each such value is wrapped in a
document whose only field says which parent its key is; MongoDB's own exclusion goes through that field, and then the
value is unwrapped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mess.config.exclude import minimal

Expression = Any
"""An aggregation expression."""

_DOCUMENTS = ("fullDocument", "fullDocumentBeforeChange")
_UPDATE = "updateDescription"
_FIELDS = f"{_UPDATE}.updatedFields"
_WHOLE = "whole"
"""The field that wraps a value in which nothing is excluded."""
_ALL = 2**31 - 1


def without(paths: Sequence[str]) -> list[dict[str, Any]]:
    """The stages that remove the fields at `paths` from change events, or from documents of the same shape.

    `_id` and `documentKey` stay as they are, and whatever is not excluded keeps its value, its type and its place.
    `paths` are those of documents, as `mess.config.exclude.checked` accepts them.
    """
    paths = minimal(paths)
    if not paths:
        return []
    keys = _Keys(paths)
    parents = _parents(paths)
    removed = [f"{document}.{path}" for document in _DOCUMENTS for path in paths]
    removed += [f"{_FIELDS}.v.{_tag(number)}.{rest}" for number, rests in enumerate(parents.values()) for rest in rests]
    changed = {
        "removedFields": _if_present("removedFields", lambda names: keys.kept(names, "$$this")),
        "truncatedArrays": _if_present("truncatedArrays", lambda arrays: keys.kept(arrays, "$$this.field")),
        "disambiguatedPaths": _if_present("disambiguatedPaths", keys.kept_fields),
    }
    fields = f"${_FIELDS}"
    if not parents:
        changed["updatedFields"] = keys.if_related(fields, keys.kept_fields(fields))
        return [_update(changed), _remove(removed)]
    changed["updatedFields"] = keys.if_related(fields, keys.wrapped(fields, list(parents)))
    return [_update(changed), _remove(removed), _unwrap(fields)]


def _parents(paths: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    """The parents of the fields at `paths`, each with the rest of every path below it."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in paths:
        names = path.split(".")
        for length in range(1, len(names)):
            found[tuple(names[:length])].append(".".join(names[length:]))
    return found


class _Keys:
    """Expressions for what has dotted keys."""

    def __init__(self, paths: Sequence[str]) -> None:
        by_length: dict[int, list[list[str]]] = defaultdict(list)
        for path in paths:
            names = path.split(".")
            by_length[len(names)].append(names)
        self._first = sorted({names[0] for each in by_length.values() for names in each})
        self._excluded = {
            "$or": [{"$in": [{"$slice": ["$$names", n]}, {"$literal": each}]} for n, each in by_length.items()]
        }

    def kept(self, entries: Expression, key: str) -> Expression:
        """The entries of an array whose key leads neither to an excluded field nor into one."""
        condition = self._by_names(key, {"$not": [self._excluded]}, otherwise=True)
        return {"$filter": {"input": entries, "cond": condition}}

    def kept_fields(self, fields: Expression) -> Expression:
        """The same for the fields of a document."""
        return {"$arrayToObject": self.kept({"$objectToArray": fields}, "$$this.k")}

    def wrapped(self, fields: Expression, parents: Sequence[tuple[str, ...]]) -> Expression:
        """The fields of a document as an array of `k` and `v`, where `v` is wrapped; null for excluded ones."""
        whole = {"k": "$$this.k", "v": {_WHOLE: "$$this.v"}}
        branches: list[Expression] = [{"case": self._excluded, "then": None}]
        for number, parent in enumerate(parents):
            wrapped = {"k": "$$this.k", "v": {_tag(number): "$$this.v"}}
            branches.append({"case": {"$eq": ["$$names", {"$literal": list(parent)}]}, "then": wrapped})
        changed = self._by_names("$$this.k", {"$switch": {"branches": branches, "default": whole}}, otherwise=whole)
        return {"$map": {"input": {"$objectToArray": fields}, "in": changed}}

    def if_related(self, fields: Expression, changed: Expression) -> Expression:
        """`changed` if any field of a document may be in one that is excluded, or contain one; few updates have any."""
        related = {"$map": {"input": {"$objectToArray": fields}, "in": self._is_related({"$split": ["$$this.k", "."]})}}
        return {"$cond": [{"$anyElementTrue": [related]}, changed, fields]}

    def _is_related(self, parts: Expression) -> Expression:
        return {"$in": [{"$arrayElemAt": [parts, 0]}, {"$literal": self._first}]}

    def _by_names(self, key: str, related: Expression, *, otherwise: Expression) -> Expression:
        """`related`, which may use the `$$names` in a dotted key; or `otherwise` for a key outside of all the paths,
        as most are.

        Indexes of arrays are left out, and so are names that look like one. A regular expression would be shorter, but
        MongoDB fails on a key that is not UTF-8.
        """
        is_name = {
            "$or": [
                {"$gte": ["$$this", ":"]},  # the character after 9: quick, and true of nearly every name
                {"$eq": ["$$this", ""]},
                {"$ne": [{"$trim": {"input": "$$this", "chars": "0123456789"}}, ""]},
            ]
        }
        # The first is always a name, since a document is not an array.
        later = {"$filter": {"input": {"$slice": ["$$parts", 1, _ALL]}, "cond": is_name}}
        names = {"$concatArrays": [{"$slice": ["$$parts", 1]}, later]}
        chosen = {
            "$cond": [self._is_related("$$parts"), {"$let": {"vars": {"names": names}, "in": related}}, otherwise]
        }
        return {"$let": {"vars": {"parts": {"$split": [key, "."]}}, "in": chosen}}


def _unwrap(fields: Expression) -> dict[str, Any]:
    """The stage after which fields that `_Keys.wrapped` has wrapped are a document again, without excluded ones."""
    only = {"$arrayElemAt": [{"$objectToArray": "$$this.v"}, 0]}
    value = {"$let": {"vars": {"only": only}, "in": "$$only.v"}}
    kept = {"$filter": {"input": fields, "cond": {"$ne": ["$$this", None]}}}
    unwrapped = {"$arrayToObject": {"$map": {"input": kept, "in": {"k": "$$this.k", "v": value}}}}
    return _update({"updatedFields": unwrapped}, condition={"$isArray": [fields]})


def _tag(number: int) -> str:
    return f"in{number}"


def _if_present(field: str, change: Callable[[str], Expression]) -> Expression:
    path = f"${_UPDATE}.{field}"
    return {"$cond": [{"$eq": [{"$type": path}, "missing"]}, "$$REMOVE", change(path)]}


_IS_UPDATE = {"$eq": [{"$type": f"${_UPDATE}"}, "object"]}


def _update(fields: Mapping[str, Expression], condition: Expression = _IS_UPDATE) -> dict[str, Any]:
    """The stage that replaces fields of an update's description. Other events, and those that do not meet the
    condition, stay as they are."""
    return {"$set": {_UPDATE: {"$cond": [condition, {"$mergeObjects": [f"${_UPDATE}", fields]}, f"${_UPDATE}"]}}}


def _remove(paths: Sequence[str]) -> dict[str, Any]:
    return {"$project": dict.fromkeys(paths, 0)}
