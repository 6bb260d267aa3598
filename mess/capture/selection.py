"""What a stream selects."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from mess.event import Namespace


@dataclass(frozen=True, slots=True)
class Entry:
    """A database and a collection by name or glob, except those (names or globs) in `apart`."""

    db: str
    coll: str
    apart_dbs: tuple[str, ...] = ()
    apart_colls: tuple[str, ...] = ()

    def selects(self, namespace: Namespace) -> bool:
        """Whether an entry includes a namespace; events of a whole database belong to every entry of their database."""
        # Check the collection's name first: it rules out most entries.
        return (not namespace.coll or _selects(namespace.coll, self.coll, self.apart_colls)) and _selects(
            namespace.db, self.db, self.apart_dbs
        )

    def overlaps(self, other: Entry) -> bool:
        """Whether both entries may include the same namespace."""
        return (
            _overlap(self.db, other.db)
            and _overlap(self.coll, other.coll)
            and other.db not in self.apart_dbs
            and self.db not in other.apart_dbs
            and other.coll not in self.apart_colls
            and self.coll not in other.apart_colls
        )


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A choice among what streams select, by names or globs; empty fields do not restrict it.

    A collection is given by its own name, or with its database (`shop.orders`). Events of a whole database belong to no
    collection.
    """

    databases: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()

    def selects(self, namespace: Namespace) -> bool:
        """Whether a namespace is chosen."""
        db, coll = namespace
        if self.databases and not any(fnmatchcase(db, pattern) for pattern in self.databases):
            return False
        return not self.collections or any(_of_collection(db, coll, pattern) for pattern in self.collections)


@dataclass(frozen=True, slots=True)
class Selection:
    """All entries of a stream, and the restriction to some of their namespaces."""

    entries: tuple[Entry, ...]
    within: Narrowing = Narrowing()

    def selects(self, namespace: Namespace) -> bool:
        """Whether the stream includes this namespace."""
        return self.within.selects(namespace) and any(entry.selects(namespace) for entry in self.entries)

    def __str__(self) -> str:
        return ", ".join(f"{entry.db}.{entry.coll}" for entry in self.entries)


def _of_collection(db: str, coll: str, pattern: str) -> bool:
    of_db, dot, of_coll = pattern.partition(".")
    whole = bool(dot) and fnmatchcase(db, of_db) and fnmatchcase(coll, of_coll)
    return bool(coll) and (whole or fnmatchcase(coll, pattern))


def _selects(name: str, pattern: str, apart: tuple[str, ...]) -> bool:
    return _fits(name, pattern) and not any(_fits(name, other) for other in apart)


def _fits(name: str, pattern: str) -> bool:
    # Most are plain names, and there may be many: fnmatch would compile each.
    return name == pattern or (_is_glob(pattern) and fnmatchcase(name, pattern))


def _overlap(one: str, other: str) -> bool:
    if _fits(one, other) or _fits(other, one):
        return True
    # Two globs may match the same names although neither contains the other: if their fixed prefixes are compatible.
    if not (_is_glob(one) and _is_glob(other)):
        return False
    head, other_head = _head(one), _head(other)
    return head.startswith(other_head) or other_head.startswith(head)


@lru_cache(maxsize=10_000)
def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _head(pattern: str) -> str:
    return pattern[: min((pattern.index(c) for c in "*?[" if c in pattern), default=len(pattern))]
