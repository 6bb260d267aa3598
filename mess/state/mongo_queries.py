"""MongoDB queries for dead letters."""

from __future__ import annotations

import fnmatch
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from mess.state.letters import to_millisecond
from mess.state.records import Wanted

NEWEST_FIRST = [("time", -1), ("_id", -1)]


def name_of(relay: str, id: str) -> str:  # noqa: A002 - the field's name
    """The `_id` of a letter's document."""
    return f"{relay}/{id}"


def query_for(relay: str, wanted: Wanted) -> dict[str, Any]:
    """The query for the relay's wanted letters."""
    query: dict[str, Any] = {"relay": relay}
    for field, value in (("pipeline", wanted.pipeline), ("step", wanted.step)):
        if value is not None:
            query[field] = value
    for field, pattern in zip(("db", "coll"), wanted.db_and_coll, strict=True):
        if pattern is not None:
            query[field] = {"$regex": f"^{fnmatch.translate(pattern)}"}
    if wanted.ids is not None:
        query["_id"] = {"$in": [name_of(relay, each) for each in wanted.ids]}
    if wanted.reason is not None:
        query["reason"] = {"$regex": re.escape(wanted.reason), "$options": "i"}
    bounds = (("$gte", wanted.since), ("$lte", wanted.until))
    times = {bound: to_millisecond(time) for bound, time in bounds if time is not None}
    return {**query, "time": times} if times else query


def not_newer(time: datetime, name: str) -> dict[str, Any]:
    """The query for the letter with this time and `_id`, and all that follow it in the order of `NEWEST_FIRST`."""
    return {"$or": [{"time": {"$lt": time}}, {"time": time, "_id": {"$lte": name}}]}


def ago(seconds: float) -> datetime:
    """The time `seconds` ago."""
    return datetime.now(timezone.utc) - timedelta(seconds=seconds)
