"""Finds what MongoDB would refuse in a query: unknown operators, or operators in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mess.config.document import Path
from mess.config.match import TYPES
from mess.config.messages import plain
from mess.formats.body import CHANGE, Unknown
from mess.similar import closest_name

Finding = tuple[Path, str]
"""The place in a query where something is wrong, and what is wrong."""

_LOGICAL = ("$and", "$or", "$nor")
_TOP = (
    *_LOGICAL,
    "$expr",
    "$jsonSchema",
    "$comment",
    "$sampleRate",
    "$alwaysTrue",
    "$alwaysFalse",
    "$ref",
    "$id",
    "$db",
)
_OF_FIELDS = (
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists", "$type", "$mod", "$regex", "$options",
    "$all", "$elemMatch", "$size", "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear", "$geoWithin",
    "$geoIntersects", "$within",
)  # fmt: skip
_NEVER = ("$where", "$text", "$near", "$nearSphere", "$geoNear")
"""Operators that change streams never accept."""
_LISTS = ("$in", "$nin", "$all")
_MEANT = {
    "$greater": "$gt", "$greaterThan": "$gt", "$greaterOrEqual": "$gte", "$less": "$lt", "$lessThan": "$lt",
    "$lessOrEqual": "$lte", "$equals": "$eq", "$notEquals": "$ne", "$notIn": "$nin", "$like": "$regex",
    "$contains": "$regex", "$exist": "$exists",
}  # fmt: skip


def mistakes(query: Any, path: Path = ()) -> Iterator[Finding]:
    """What MongoDB would refuse in a query. It may refuse more, for example in the expressions of `$expr`."""
    if not isinstance(query, dict):
        return  # the model reports it
    for key, value in query.items():
        if key in _LOGICAL:
            yield from _combined(key, value, (*path, key))
        elif key.startswith("$"):
            if key not in _TOP and not key.startswith("$_internal"):
                yield (*path, key), _unknown(key, _TOP, _OF_FIELDS, "belongs to a field, as in {field: {%s: …}}")
        else:
            yield from _condition(value, (*path, key))


def doubts(query: Any, path: Path = ()) -> Iterator[Finding]:
    """The fields in a query that no change event has."""
    if not isinstance(query, dict):
        return
    for key, value in query.items():
        if key in ("$and", "$or") and isinstance(value, list):
            for index, part in enumerate(value):
                yield from doubts(part, (*path, key, index))
        elif not key.startswith("$") and isinstance(CHANGE.find(tuple(key.split("."))), Unknown):
            meant = closest_name(key.partition(".")[0], CHANGE.fields or ())
            hint = f"{meant}{key[key.find('.') :] if '.' in key else ''}" if meant else f"fullDocument.{key}"
            yield (*path, key), f'a change event has no such field, so nothing matches; did you mean "{hint}"?'


def _combined(key: str, value: Any, path: Path) -> Iterator[Finding]:
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        yield path, f"must be a list of queries, as in {key}: [{{operationType: insert}}, …]"
    else:
        for index, part in enumerate(value):
            yield from mistakes(part, (*path, index))


def _condition(value: Any, path: Path) -> Iterator[Finding]:
    """Check a field's condition: a value, or a mapping of operators."""
    if not isinstance(value, dict) or not str(next(iter(value), "")).startswith("$") or not TYPES.isdisjoint(value):
        return
    for key, operand in value.items():
        place = (*path, key)
        if key in _LISTS and not isinstance(operand, list):
            yield place, "must be a list"
        elif key == "$not":
            yield from _condition(operand, place)
        elif key == "$elemMatch":
            yield from _element(operand, place)
        elif key == "$all":
            for index, part in enumerate(operand):
                if isinstance(part, dict) and "$elemMatch" in part:
                    yield from _condition(part, (*place, index))
        elif key not in _OF_FIELDS and not key.startswith("$_internal"):
            yield place, _unknown(key, _OF_FIELDS, _TOP, "belongs outside of fields, as in %s: …")


def _element(operand: Any, path: Path) -> Iterator[Finding]:
    first = str(next(iter(operand), "")) if isinstance(operand, dict) else ""
    if first.startswith("$") and first not in _LOGICAL:
        yield from _condition(operand, path)
    else:
        yield from mistakes(operand, path)


def _unknown(key: str, known: tuple[str, ...], elsewhere: tuple[str, ...], where: str) -> str:
    if not plain(key):
        return "is not an operator that MongoDB knows here"
    if key in _NEVER:
        return f"MongoDB does not allow {key} in a change stream"
    if key in elsewhere:
        return f"{key} {where % key}"
    if not key.startswith("$"):
        return f"{key} is among operators, but is not one; write field paths with dots, as in fullDocument.{key}"
    meant = closest_name(key, [*known, *_MEANT])
    return f"MongoDB has no operator {key} here" + (f'; did you mean "{_MEANT.get(meant, meant)}"?' if meant else "")
