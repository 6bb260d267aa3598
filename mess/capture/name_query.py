"""Conditions on names and globs, in MongoDB's query language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any

from bson import Regex

from mess.config.scope import is_glob

_LONGEST_REGEX = 4_000
"""Compiling a class of two letters takes eight times its length, and PCRE compiles at most 64 kB."""


def fitting(path: str, patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The conditions for the name at `path` to match all of `patterns`."""
    return [{path: {"$in": [exact_or_glob(pattern)]}} for pattern in patterns if pattern != "*"]


def all_of(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """All conditions as one; empty if there is none."""
    return {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), {})


def named(path: str, wanted: list[str], apart: Sequence[str]) -> list[dict[str, Any]]:
    """The conditions for the name at `path` to be in `wanted` and not in `apart`; both may contain globs."""
    conditions: list[dict[str, Any]] = []
    if "*" not in wanted:
        exact = [name for name in wanted if not is_glob(name)]
        # For many names, MongoDB is twice as fast with an expression: a query tries one name after another.
        alternatives: list[dict[str, Any]] = [{"$expr": {"$in": [f"${path}", {"$literal": exact}]}}] if exact else []
        if globs := _globs(wanted):
            alternatives.append({path: {"$in": globs}})
        conditions.append({"$or": alternatives} if len(alternatives) > 1 else alternatives[0])
    if excluded := [*(name for name in apart if not is_glob(name)), *_globs(apart)]:
        # Without a wanted name, an event that is not a rename, and has no `to`, would match.
        absent = [None] if "*" in wanted and path.startswith("to.") else []
        conditions.append({path: {"$nin": [*excluded, *absent]}})
    return conditions


def _globs(names: Iterable[str]) -> list[Regex[str]]:
    """Regular expressions for the globs among `names`, as few as possible: MongoDB copies each dozens of times when it
    plans how to read its oplog, and evaluates all of them for every change."""
    joined: list[list[str]] = []
    room = 0
    for pattern in (_pattern(name) for name in names if is_glob(name)):
        if len(pattern) > room:
            joined.append([])
            room = _LONGEST_REGEX
        joined[-1].append(pattern)
        room -= len(pattern)
    return [Regex("^" + (each[0] if len(each) == 1 else f"(?:{'|'.join(each)})")) for each in joined]


def exact_or_glob(name: str) -> str | Regex[str]:
    """The value that matches a name or glob in a query; `$in` accepts both kinds."""
    return Regex("^" + _pattern(name)) if is_glob(name) else name


@lru_cache(maxsize=10_000)
def _pattern(glob: str) -> str:
    # Python writes `(?s:…)\\Z`, which PCRE understands as well; MongoDB does not understand the flags that re.compile
    # would add.
    return _CLASS.sub(_without_posix, translate(glob))


_CLASS = re.compile(r"\\.|\[(\^?\]?(?:\\.|[^\]\\])*)\]", re.DOTALL)
"""An escaped character, or a class, in a pattern in the form of `fnmatch.translate`."""


def _without_posix(found: re.Match[str]) -> str:
    # Within a class, PCRE reads `[:`, `[.` and `[=` as the beginning of a POSIX class, Python as two characters.
    return found[0] if found[1] is None else "[" + found[1].replace("[", r"\[") + "]"
