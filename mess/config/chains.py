"""The scopes that apply to a namespace, and where they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mess.config.document import Path
from mess.config.model import Config, Scope
from mess.config.scope import collection_scope, database_scope

Chain = list[tuple[Path, Scope]]
"""The scopes that apply to a namespace, most specific first."""


def chains(config: Config) -> Iterator[Chain]:
    """One chain for each entry of `databases` and each of its `collections`."""
    for db, database in config.databases.items():
        outer = database_chain(config, db)
        if not database.collections:
            yield outer
        for coll, collection in database.collections.items():
            yield [(("databases", db, "collections", coll), collection), *outer]


def database_chain(config: Config, db: str) -> Chain:
    """The scopes that apply to a whole database, given its key in `databases`."""
    return [(("databases", db), config.databases[db]), ((), config)]


def chain_of(config: Config, db: str, coll: str = "") -> Chain | None:
    """The chain of a collection, or without `coll` of events of the whole database. None if the config does not select
    it."""
    database = database_scope(config, db)
    if database is None:
        return None
    key, scope = database
    collection = collection_scope(scope, coll)
    if not coll or not scope.collections:
        return database_chain(config, key)
    if collection is None:
        return None
    return [(("databases", key, "collections", collection[0]), collection[1]), *database_chain(config, key)]


def innermost(chain: Chain, option: str, default: Any = None) -> tuple[Path, Any]:
    """The effective value of an option in a chain, with the path of the scope that sets it."""
    return next(
        ((path, value) for path, scope in chain if (value := getattr(scope, option)) is not None), ((), default)
    )


def wants_full_document(query: dict[str, Any]) -> bool:
    """Whether a query matches only events that have a fullDocument."""
    for key, condition in query.items():
        if key == "operationType":
            return False  # a query that selects operations is assumed to be deliberate
        if key == "$and" and isinstance(condition, list):
            if any(isinstance(part, dict) and wants_full_document(part) for part in condition):
                return True
        elif (key == "fullDocument" or key.startswith("fullDocument.")) and not _lets_missing_pass(condition):
            return True
    return False


def _lets_missing_pass(condition: Any) -> bool:
    if not isinstance(condition, dict):
        return condition is None
    return condition.get("$exists") is False or not {"$ne", "$nin", "$not"}.isdisjoint(condition)
