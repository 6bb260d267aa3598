"""Narrows a config's streams to what a replay selects. Pure: it never connects to MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mess.capture.match import ALWAYS_SEEN
from mess.capture.name_query import exact_or_glob
from mess.capture.plan import StreamPlan
from mess.capture.selection import Entry, Narrowing
from mess.errors import ConfigError


def narrow(plans: Sequence[StreamPlan], within: Narrowing) -> list[StreamPlan]:
    """The streams that may contain selected events, each narrowed to them; MongoDB evaluates that.

    Raises ConfigError for a database or a collection that no stream watches.
    """
    chosen = _watching(plans, "database", within.databases, lambda name: [Entry(name, "*")])
    chosen = _watching(chosen, "collection", within.collections, _collections)
    condition = _condition(within)
    return chosen if condition is None else [_narrowed(plan, within, condition) for plan in chosen]


def _watching(
    plans: Sequence[StreamPlan], kind: str, names: Sequence[str], meaning: Callable[[str], list[Entry]]
) -> list[StreamPlan]:
    """The streams that watch at least one of `names`."""
    if not names:
        return list(plans)
    found: list[StreamPlan] = []
    for name in names:
        watching = [plan for plan in plans if _overlaps(plan, meaning(name))]
        if not watching:
            watched = ", ".join(str(plan.selection) for plan in plans)
            raise ConfigError(f"the config watches no {kind} {name!r}; it watches: {watched}")
        found += watching
    return [plan for plan in plans if plan in found]


def _overlaps(plan: StreamPlan, wanted: Sequence[Entry]) -> bool:
    return any(each.overlaps(entry) for each in wanted for entry in plan.selection.entries)


def _collections(name: str) -> list[Entry]:
    db, dot, coll = name.partition(".")
    return [Entry("*", name), *([Entry(db, coll)] if dot else [])]


def _narrowed(plan: StreamPlan, within: Narrowing, condition: dict[str, Any]) -> StreamPlan:
    match = condition if plan.match is None else {"$and": [plan.match, condition]}
    return replace(plan, selection=replace(plan.selection, within=within), match=match)


def _condition(within: Narrowing) -> dict[str, Any] | None:
    """The `$match` for the selection; None if everything is selected."""
    if within == Narrowing():
        return None
    # A rename into a collection has its name in `to`; the router decides which of the two names counts.
    either = [{"$and": _conditions(within, place)} for place in ("ns", "to")]
    return {"$or": [{"operationType": {"$in": ALWAYS_SEEN}}, *either]}


def _conditions(within: Narrowing, place: str) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = []
    if within.databases:
        conditions.append({f"{place}.db": {"$in": [exact_or_glob(name) for name in within.databases]}})
    if within.collections:
        entries = [entry for name in within.collections for entry in _collections(name)]
        conditions.append({"$or": [_of_entry(entry, place) for entry in entries]})
    return conditions


def _of_entry(entry: Entry, place: str) -> dict[str, Any]:
    names = {f"{place}.coll": entry.coll, **({} if entry.db == "*" else {f"{place}.db": entry.db})}
    return {path: {"$in": [exact_or_glob(name)]} for path, name in names.items()}
