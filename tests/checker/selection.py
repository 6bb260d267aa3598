"""What a config selects, by the rules of the documentation: the most specific scope wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.checker.committed import Change

NEVER_WATCHED = ("admin", "local", "config")
OPERATIONS = frozenset({"insert", "update", "replace", "delete", "drop", "rename", "dropDatabase"})

Predicate = Callable[[Change], bool]


@dataclass(frozen=True)
class Options:
    """What holds for one namespace: the operations and, beside them, the `match` that its changes must fulfil; the
    destinations that its pipeline delivers to; and what is kept in order."""

    operations: frozenset[str]
    match: Predicate | None
    destinations: tuple[str, ...]
    order: str

    def wants(self, change: Change) -> bool:
        """Whether a change of the namespace is to be delivered."""
        return (self.match is None or self.match(change)) and change.operation in self.operations


class Selection:
    """A config, as the relay is given it, and what it selects.

    `matches` says in Python what each `match` of the config means, by its text as `repr` gives it; `destinations`
    finds the names of the places that a pipeline delivers to.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        destinations: Callable[[Any], tuple[str, ...]],
        matches: Mapping[str, Predicate] | None = None,
    ) -> None:
        self._config = config
        self._destinations = destinations
        self._matches = matches or {}
        self._never = {*NEVER_WATCHED, config.get("state", {}).get("database", "mess")}
        self._known: dict[tuple[str, str], Options | None] = {}

    def options(self, db: str, coll: str) -> Options | None:
        """What holds for a namespace; None where the config does not select it. An empty `coll` stands for events of
        the whole database."""
        if (db, coll) not in self._known:
            self._known[db, coll] = self._find(db, coll)
        return self._known[db, coll]

    def of(self, change: Change) -> Options | None:
        """What holds for a change. A rename belongs to the old name, or to the new one where only that is selected."""
        found = self.options(change.db, change.coll)
        return self.options(*change.to) if found is None and change.to is not None else found

    def _find(self, db: str, coll: str) -> Options | None:
        if db in self._never:
            return None
        database = _entry(self._config["databases"], db)
        if database is None:
            return None
        scopes = [database, self._config]
        if coll and database.get("collections"):
            collection = _entry(database["collections"], coll)
            if collection is None:
                return None
            scopes.insert(0, collection)

        def nearest(option: str) -> Any:
            return next((scope[option] for scope in scopes if scope.get(option) is not None), None)

        match = nearest("match")
        return Options(
            operations=frozenset(nearest("operations") or OPERATIONS),
            match=None if match is None else self._matches[repr(match)],
            destinations=self._destinations(nearest("pipeline")),
            order=nearest("order") or "document",
        )


def _entry(entries: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """An entry by its own name, else the first glob that fits."""
    if name in entries:
        return entries[name] or {}
    return next((scope or {} for glob, scope in entries.items() if fnmatchcase(name, glob)), None)
