"""Builds the `$match` stage of a change stream from the config's entries that it serves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from mess.capture.name_query import all_of, fitting, named
from mess.capture.region import Region
from mess.capture.selection import Entry
from mess.config.match import parsed
from mess.config.model import Config
from mess.config.operations import READ
from mess.config.scope import Resolved

NEVER_WATCHED = ("admin", "local", "config")
"""Databases whose changes are MongoDB's own."""
ALWAYS_SEEN = ["dropDatabase", "invalidate"]
"""Operations that concern no collection: conditions on collections do not apply to them."""


@dataclass(slots=True)
class Branch:
    """One entry of the config. Entries of one stream share a condition if they have the same `wanted`, their databases
    have the same `database`, and the same names are excluded from them."""

    entry: Entry
    options: Resolved
    wanted: str
    database: str
    query: str = ""


def match_of(database: str | None, branches: list[Branch], config: Config) -> dict[str, Any] | None:
    """The `$match` of a stream over `database` (None for all); None if everything is wanted."""
    alternatives: list[dict[str, Any]] = []
    merged: dict[Hashable, list[Branch]] = defaultdict(list)
    for branch in branches:
        entry = branch.entry
        merged[branch.database, entry.apart_dbs, branch.wanted, entry.apart_colls].append(branch)
    for alike_branches in merged.values():
        condition = _condition(database, alike_branches, config)
        if condition is None:
            return None
        alternatives.append(condition)
    return {"$or": [*_of_databases(database, branches, config), *alternatives]}


def _of_databases(database: str | None, branches: list[Branch], config: Config) -> list[dict[str, Any]]:
    """The conditions for events of whole databases; without a `match`, any."""
    if not any(own_match(config, branch.entry.db) for branch in branches):
        return [{"operationType": {"$in": ALWAYS_SEEN}}]
    merged: dict[Hashable, list[Branch]] = defaultdict(list)
    for branch in branches:
        merged[branch.database, branch.entry.apart_dbs].append(branch)
    found: list[dict[str, Any]] = [{"operationType": "invalidate"}]
    for alike in merged.values():
        query = own_match(config, alike[0].entry.db)
        within = _within_databases("ns", database, alike, config)
        found.append(all_of([{"operationType": "dropDatabase"}, *within, *([parsed(query)] if query else [])]))
    return found


def _condition(database: str | None, branches: list[Branch], config: Config) -> dict[str, Any] | None:
    """The `$match` for entries that differ only in their names; None if they want every event."""
    entry, options = branches[0].entry, branches[0].options
    colls = list(dict.fromkeys(branch.entry.coll for branch in branches))

    def within(place: str) -> dict[str, Any]:
        databases = _within_databases(place, database, branches, config)
        return all_of([*databases, *named(f"{place}.coll", colls, entry.apart_colls)])

    conditions: list[dict[str, Any]] = []
    if source := within("ns"):
        # A rename into a watched collection has the new name in `to`.
        conditions.append({"$or": [source, within("to")]})
    if options.operations is not None:
        # No stream has existing documents; a config that begins to select them keeps its streams as they were.
        conditions.append({"operationType": {"$in": [each for each in options.operations if each != READ]}})
    if options.match:
        conditions.append(parsed(options.match))
    return all_of(conditions) or None


def _within_databases(place: str, database: str | None, branches: list[Branch], config: Config) -> list[dict[str, Any]]:
    if database is not None:
        return []
    dbs = list(dict.fromkeys(branch.entry.db for branch in branches))
    return named(f"{place}.db", dbs, [*branches[0].entry.apart_dbs, *NEVER_WATCHED, config.state.database])


def own_match(config: Config, db: str) -> dict[str, Any] | None:
    """The `match` that applies to events of a whole database."""
    own = config.databases[db].match
    return config.match if own is None else own


def within_regions(regions: Sequence[Region]) -> dict[str, Any]:
    """The condition for events of these regions."""
    single: dict[tuple[str, ...], list[str]] = defaultdict(list)
    others: list[Region] = []
    for region in regions:
        if len(region.colls) > 1:
            others.append(region)
        elif region.colls[0]:
            single[region.dbs].append(region.colls[0])

    def within(place: str) -> list[dict[str, Any]]:
        narrow = [[*fitting(f"{place}.db", dbs), *named(f"{place}.coll", colls, ())] for dbs, colls in single.items()]
        wide = [[*fitting(f"{place}.db", each.dbs), *fitting(f"{place}.coll", each.colls)] for each in others]
        return [all_of(conditions) for conditions in (*narrow, *wide)]

    return {"$or": [{"operationType": {"$in": ALWAYS_SEEN}}, *within("ns"), *within("to")]}
