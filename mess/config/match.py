"""A scope's `match`: a query in Extended JSON, or in YAML with YAML dates."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any

import bson
from bson import json_util

TYPES = frozenset({
    "$binary", "$code", "$date", "$dbPointer", "$maxKey", "$minKey", "$numberDecimal", "$numberDouble", "$numberInt",
    "$numberLong", "$oid", "$ref", "$regularExpression", "$symbol", "$timestamp", "$undefined", "$uuid",
})  # fmt: skip
"""The keys that make a mapping an Extended JSON value."""


def checked(query: dict[str, Any]) -> dict[str, Any]:
    """Normalize a query as `normal` does. Raises ValueError also for one that cannot be sent to MongoDB."""
    found: dict[str, Any] = normal(query)
    try:
        bson.encode(parsed(found))
    except Exception as error:  # bson and json_util raise many kinds; their texts may contain the query's values
        raise ValueError(
            "cannot be sent to MongoDB; look for a number of more than 64 bits, a NUL in a key or a pattern, text that "
            "is not Unicode, or invalid Extended JSON"
        ) from error
    return found


def parsed(query: dict[str, Any]) -> dict[str, Any]:
    """The query as it is sent to MongoDB, from what `checked` returned."""
    found: dict[str, Any] = json_util.loads(json.dumps(query))
    return found


def normal(query: Any) -> Any:
    """A query as plain Extended JSON that `bson.json_util.loads` reads as intended.

    Dates become `$date`; those without a time zone are taken as UTC. Raises ValueError for anything that is not
    Extended JSON.
    """
    if isinstance(query, dict):
        inner = {key: normal(value) for key, value in query.items()}
        if TYPES.isdisjoint(inner):
            return _regex(inner)
        try:
            json_util.object_hook(dict(inner))
        except Exception as error:  # json_util's parsers raise anything, depending on the value
            name = next(key for key in inner if key in TYPES)
            raise ValueError(f"{name} here is not Extended JSON; see MongoDB's manual for its form") from error
        return inner
    if isinstance(query, list):
        return [normal(value) for value in query]
    if isinstance(query, date):
        return {"$date": utc(query).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return query


def utc(moment: date) -> datetime:
    """A date or time in UTC. One without a time zone is taken as UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError("the year must be between 1 and 9999") from error


def _regex(query: dict[str, Any]) -> dict[str, Any]:
    # json_util takes {$regex: text} as the whole value and drops every other operator beside it.
    pattern = query.get("$regex")
    if not isinstance(pattern, str) or query.keys() <= {"$regex", "$options"}:
        return query
    options = "".join(sorted(str(query.get("$options") or "")))
    others = {key: value for key, value in query.items() if key not in ("$regex", "$options")}
    return {"$regex": {"$regularExpression": {"pattern": pattern, "options": options}}, **others}
