"""A scope's `match`: a query in Extended JSON, or in YAML with its own dates."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

from bson import json_util

_TYPES = frozenset({
    "$binary", "$code", "$date", "$dbPointer", "$maxKey", "$minKey", "$numberDecimal", "$numberDouble", "$numberInt",
    "$numberLong", "$oid", "$ref", "$regularExpression", "$symbol", "$timestamp", "$undefined", "$uuid",
})  # fmt: skip


def normal(query: Any) -> Any:
    """A query as plain Extended JSON, which `bson.json_util.loads` reads as it was meant.

    Dates become `$date`, those without a time zone in UTC. Raises ValueError for what is not Extended JSON.
    """
    if isinstance(query, dict):
        inner = {key: normal(value) for key, value in query.items()}
        if _TYPES.isdisjoint(inner):
            return _regex(inner)
        try:
            json_util.object_hook(dict(inner))
        except Exception as error:  # json_util's parsers raise whatever their values make them raise
            name = next(key for key in inner if key in _TYPES)
            raise ValueError(f"{name} here is not Extended JSON; look at its form in MongoDB's manual") from error
        return inner
    if isinstance(query, list):
        return [normal(value) for value in query]
    if isinstance(query, date):
        return {"$date": utc(query).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return query


def utc(moment: date) -> datetime:
    """A date or time in UTC; one without a time zone is in UTC already."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError("the year must lie between 1 and 9999") from error


def _regex(query: dict[str, Any]) -> dict[str, Any]:
    # json_util takes {$regex: text} for a whole value and drops every other operator beside it.
    pattern = query.get("$regex")
    if not isinstance(pattern, str) or query.keys() <= {"$regex", "$options"}:
        return query
    options = "".join(sorted(str(query.get("$options") or "")))
    others = {key: value for key, value in query.items() if key not in ("$regex", "$options")}
    return {"$regex": {"$regularExpression": {"pattern": pattern, "options": options}}, **others}
