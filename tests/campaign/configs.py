"""Random configs over a few names, so that sequences of them overlap in every way."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from tests.checker.committed import Change
from tests.checker.selection import Predicate, Selection

DATABASES = ("a", "b", "c")
"""Behind the prefix of a scenario."""
COLLECTIONS = ("a", "ab", "b", "bc", "c")
_GLOBS = ("a*", "*b", "?", "*c", "[ab]*", "*")
_DATABASE_GLOBS = ("*", "[ab]", "?")
_MATCHES: tuple[tuple[dict[str, Any], Predicate], ...] = (
    ({"operationType": {"$ne": "delete"}}, lambda change: change.operation != "delete"),
    ({"ns.coll": {"$in": ["a", "b"]}}, lambda change: change.coll in ("a", "b")),
    ({"documentKey._id": {"$mod": [2, 0]}}, lambda change: _is_even(change)),
)
MATCHES: Mapping[str, Predicate] = {repr(query): predicate for query, predicate in _MATCHES}
"""What each query that a config here may hold means, by its text."""


def _is_even(change: Change) -> bool:
    value = change.document_id
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and int(value) % 2 == 0


SECOND = "second"
"""In a drawn config, in place of the second pipeline."""


class ConfigMaker:
    """Makes the `databases` of configs. `prefix` begins the names of all databases of a scenario. With `apart`, some
    scopes have a pipeline of their own, for which `SECOND` stands; with `filters`, some leave changes out; with
    `strangers`, some watch databases that are not the scenario's.
    """

    def __init__(
        self,
        chance: random.Random,
        prefix: str,
        *,
        apart: bool = False,
        filters: bool = False,
        strangers: bool = False,
    ) -> None:
        self._chance = chance
        self._prefix = prefix
        self._apart = apart
        self._filters = filters
        self._strangers = strangers

    def databases(self) -> dict[str, Any]:
        """Some databases, by name or by glob."""
        shape = self._chance.random()
        if shape < 0.15:
            return {self._prefix + "*": self._scope()}
        if shape < 0.22:
            return {"*" if self._strangers else self._prefix + "*": {}}
        names = self._chance.sample(DATABASES, self._chance.choice((1, 1, 2, 2, 3)))
        found = {self._prefix + name: self._scope() for name in names}
        if shape < 0.4:
            found[self._prefix + self._chance.choice(_DATABASE_GLOBS)] = self._scope()
        return found

    def everything(self) -> dict[str, Any]:
        """All databases and collections, in one of several ways to say so."""
        return self._chance.choice(
            (
                {self._prefix + "*": {}},
                {self._prefix + name: {} for name in DATABASES},
                {self._prefix + "a": {"collections": {"a": {"full_document": "off"}, "*": {}}}, self._prefix + "*": {}},
            )
        )

    def _scope(self) -> dict[str, Any]:
        scope = self._options(0.1)
        if self._chance.random() < 0.3:
            return scope
        names = self._chance.sample(COLLECTIONS, self._chance.choice((1, 1, 2, 3)))
        if self._chance.random() < 0.35:
            names.insert(self._chance.randrange(len(names) + 1), self._chance.choice(_GLOBS))
        return {**scope, "collections": {name: self._options(0.35) for name in names}}

    def _options(self, share: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._chance.random() < share:
            found["full_document"] = self._chance.choice(("off", "update_lookup", "when_available"))
        if self._chance.random() < share / 4:
            found["full_document_before_change"] = "when_available"
        if self._chance.random() < share / 4:
            found["exclude"] = ["unused"]
        if self._apart and self._chance.random() < share:
            found["pipeline"] = SECOND
        if self._chance.random() < share / 4:
            found["order"] = self._chance.choice(("collection", "document", "none"))
        if self._filters and self._chance.random() < share:
            found["match"] = self._chance.choice(_MATCHES)[0]
        if self._filters and self._chance.random() < share / 2:
            found["operations"] = self._chance.choice((["insert", "update"], ["insert", "delete", "drop", "rename"]))
        return found


def with_second(scopes: Mapping[str, Any], pipeline: Any) -> dict[str, Any]:
    """The `databases` of a config with this pipeline where `SECOND` stands."""
    found: dict[str, Any] = {}
    for name, scope in scopes.items():
        found[name] = dict(scope)
        if scope.get("pipeline") == SECOND:
            found[name]["pipeline"] = pipeline
        if "collections" in scope:
            found[name]["collections"] = with_second(scope["collections"], pipeline)
    return found


def selection(config: Mapping[str, Any]) -> Selection:
    """What a config of a scenario selects."""
    return Selection(config, destinations, MATCHES)


def destinations(pipeline: Any) -> tuple[str, ...]:
    """Where a pipeline of a scenario delivers to: the last part of an endpoint, or a queue's target."""
    found = []
    for step in pipeline or ():
        config = step.get("config", {})
        if step["name"] == "http":
            found.append(config["endpoint"].rpartition("/")[2])
        elif step["name"] == "queue":
            found.append(config["target"])
    return tuple(found)
