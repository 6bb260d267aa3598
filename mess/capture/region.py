"""Sets of namespaces, described by names and globs: the building blocks of a coverage map. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from mess.config.scope import is_glob
from mess.event import Namespace

_AND = " & "


@dataclass(frozen=True, slots=True)
class Region:
    """The namespaces whose database matches every pattern in `dbs` and whose collection matches every pattern in
    `colls`.

    A pattern is a name or a glob. The empty collection name stands for events of a whole database (dropDatabase); no
    glob matches it.
    """

    dbs: tuple[str, ...]
    colls: tuple[str, ...]

    @classmethod
    def of(cls, db: str, coll: str) -> Region:
        """The namespaces that one pattern for the database and one for the collection select."""
        return cls((db,), (coll,))

    @classmethod
    def parse(cls, text: str) -> Region:
        """The inverse of `text`: `shop.orders`, `shop.*`, or `shop.` for the database's own events. Patterns that must
        all match are joined with ` & `. Raises ValueError, with the reason, for anything else."""
        db, dot, coll = text.partition(".")
        if not db or not dot:
            raise ValueError(f"{text!r} is not DATABASE.COLLECTION, such as shop.orders, shop.* or '*.*'")
        return cls(tuple(db.split(_AND)), tuple(coll.split(_AND)))

    @property
    def text(self) -> str:
        """The region in the format of `parse`."""
        dbs, colls = ([pattern.replace(_AND, " [&] ") for pattern in each] for each in (self.dbs, self.colls))
        return f"{_AND.join(dbs)}.{_AND.join(colls)}"

    @property
    def exact(self) -> bool:
        """Whether this is a single namespace."""
        return not (is_glob(self.dbs[0]) or is_glob(self.colls[0]))

    @property
    def of_databases(self) -> bool:
        """Whether it contains only events of whole databases."""
        return self.colls == ("",)

    def contains(self, namespace: Namespace) -> bool:
        """Whether a namespace belongs to the region."""
        db, coll = namespace
        return all(fits(coll, pattern) for pattern in self.colls) and all(fits(db, pattern) for pattern in self.dbs)

    def within(self, other: Region) -> bool:
        """Whether every namespace of the region certainly belongs to `other` too. False negatives are possible, false
        positives are not."""
        return _within(self.colls, other.colls) and _within(self.dbs, other.dbs)

    def intersection(self, other: Region) -> Region | None:
        """The namespaces that belong to both; None if there certainly are none."""
        colls = _both(self.colls, other.colls)
        if colls is None:
            return None
        dbs = _both(self.dbs, other.dbs)
        return None if dbs is None else Region(dbs, colls)

    def __str__(self) -> str:
        db, coll = " & ".join(self.dbs), " & ".join(self.colls)
        return f"{db}.{coll}" if coll else f"{db} (database events)"


def fits(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern. The empty name matches only itself."""
    return name == pattern or (name != "" and is_glob(pattern) and fnmatchcase(name, pattern))


def _within(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return all(any(_implies(each, pattern) for each in narrow) for pattern in wide)


def _implies(narrow: str, wide: str) -> bool:
    """Whether every name that matches `narrow` certainly matches `wide`."""
    if not is_glob(narrow):
        return fits(narrow, wide)
    if narrow == wide or wide == "*":
        return True
    # Taken as a name, a glob without classes matches a wider glob only through that one's asterisks and equal letters.
    return "[" not in narrow and "?" not in wide and "[" not in wide and fnmatchcase(narrow, wide)


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...] | None:
    """The patterns for names that match all of `one` and all of `other`; None if no name can."""
    found = one
    for pattern in other:
        if pattern in found:
            continue
        if not is_glob(found[0]):
            if not fits(found[0], pattern):
                return None
        elif not is_glob(pattern):
            if not all(fits(pattern, each) for each in found):
                return None
            found = (pattern,)
        elif any(disjoint(each, pattern) for each in found):
            return None
        elif not any(_implies(each, pattern) for each in found):
            found = (*(each for each in found if not _implies(pattern, each)), pattern)
    return found if len(found) == 1 else tuple(sorted(found))


def disjoint(one: str, other: str) -> bool:
    """Whether no name matches both globs, going by their fixed prefixes and suffixes. False negatives are possible,
    false positives are not."""
    return _differ(_head(one), _head(other)) or _differ(_head(one[::-1]), _head(other[::-1]))


def _differ(one: str, other: str) -> bool:
    return not (one.startswith(other) or other.startswith(one))


@lru_cache(maxsize=10_000)
def _head(pattern: str) -> str:
    # Reversed, a class begins with its closing bracket, which elsewhere is an ordinary character.
    return pattern[: min((pattern.index(c) for c in "*?[]" if c in pattern), default=len(pattern))]
