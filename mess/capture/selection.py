"""What a stream selects."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from mess.event import Namespace


@dataclass(frozen=True, slots=True)
class Entry:
    """A database and a collection by name or glob, less those (names or globs) that are set apart."""

    db: str
    coll: str
    apart_dbs: tuple[str, ...] = ()
    apart_colls: tuple[str, ...] = ()

    def selects(self, namespace: Namespace) -> bool:
        """Whether a namespace falls under this entry; events of a whole database do when their database does."""
        # The collection's name first: it tells most entries apart.
        return (not namespace.coll or _selects(namespace.coll, self.coll, self.apart_colls)) and _selects(
            namespace.db, self.db, self.apart_dbs
        )

    def overlaps(self, other: Entry) -> bool:
        """Whether something may be under both entries."""
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
    """A choice among what streams select, by names or globs; what is left empty does not narrow.

    A collection is chosen by its own name, or by its database's and its own (`shop.orders`). Events of a whole database
    are no collection's.
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
    """All entries of a stream, and what it has been narrowed to."""

    entries: tuple[Entry, ...]
    within: Narrowing = Narrowing()

    def selects(self, namespace: Namespace) -> bool:
        """Whether the stream is the one for this namespace."""
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
    # Two globs of which neither contains the other may still share names: as far as their fixed beginnings agree.
    if not (_is_glob(one) and _is_glob(other)):
        return False
    head, other_head = _head(one), _head(other)
    return head.startswith(other_head) or other_head.startswith(head)


@lru_cache(maxsize=10_000)
def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _head(pattern: str) -> str:
    return pattern[: min((pattern.index(c) for c in "*?[" if c in pattern), default=len(pattern))]
