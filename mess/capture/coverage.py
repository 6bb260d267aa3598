"""The coverage map: how far each of several disjoint sets of namespaces is done. Pure.

A map is an ordered list of rules; the first rule whose region contains a namespace applies. This makes its regions
disjoint by construction. Two maps are combined by intersecting every rule of one with every rule of the other, in
order: the first intersection that contains a namespace is that of the two rules that apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bson import Timestamp

from mess.capture.region import Region
from mess.event import Namespace

V = TypeVar("V")
W = TypeVar("W")
X = TypeVar("X")


@dataclass(frozen=True, slots=True)
class Rule(Generic[V]):
    """The value for the namespaces of a region."""

    region: Region
    value: V


@dataclass(frozen=True, slots=True)
class Covered:
    """How far namespaces are done: every change before `time`, or before the position of `stream` if that is later.

    `stream` is the one that delivers them, None if no stream does. `time` is None for namespaces that were never
    covered.
    """

    stream: str | None
    time: Timestamp | None


NEVER = Covered(None, None)

Coverage = tuple[Rule[Covered], ...]
"""A coverage map. Namespaces without a rule were never covered."""


def lookup(rules: Iterable[Rule[V]], namespace: Namespace) -> V | None:
    """The value for a namespace; None without a rule."""
    for rule in rules:
        if rule.region.contains(namespace):
            return rule.value
    return None


def combine(
    one: Sequence[Rule[V]], other: Sequence[Rule[W]], value: Callable[[V | None, W | None], X]
) -> list[Rule[X]]:
    """The map whose value for each namespace is `value` of its values in both maps; None stands for a missing rule."""
    found: list[Rule[X]] = []
    for rule in one:
        found += _intersections(rule, other, value)
    found += [Rule(rule.region, value(None, rule.value)) for rule in other]
    return _without_shadowed(found)


def _intersections(
    rule: Rule[V], others: Sequence[Rule[W]], value: Callable[[V | None, W | None], X]
) -> Iterable[Rule[X]]:
    for other in others:
        both = rule.region.intersection(other.region)
        if both is not None:
            yield Rule(both, value(rule.value, other.value))
            if both == rule.region:
                return
    yield Rule(rule.region, value(rule.value, None))


def _without_shadowed(rules: Sequence[Rule[V]]) -> list[Rule[V]]:
    """The rules except those that never apply, since an earlier one contains their whole region."""
    kept: list[Rule[V]] = []
    single: set[Region] = set()
    wide: list[Region] = []
    for rule in rules:
        region = rule.region
        if region in single or any(region.within(other) for other in wide):
            continue
        kept.append(rule)
        if region.exact:
            single.add(region)
        else:
            wide.append(region)
    return kept


def simplify(rules: Sequence[Rule[V]], default: V) -> tuple[Rule[V], ...]:
    """A short list of rules with the same value for every namespace; `default` is the value without a rule.

    A rule is left out if a later one gives its region the same value, and no rule in between gives a part of the region
    another.
    """
    kept: list[Rule[V]] = []
    for rule in reversed(rules):
        if not _is_repeated(rule, reversed(kept), default):
            kept.append(rule)
    return tuple(_without_shadowed(kept[::-1]))


def _is_repeated(rule: Rule[V], later: Iterable[Rule[V]], default: V) -> bool:
    for other in later:
        if other.value == rule.value:
            if rule.region.within(other.region):
                return True
        elif rule.region.intersection(other.region) is not None:
            return False
    return rule.value == default


def bounded(coverage: Coverage, wanted: Sequence[Rule[str | None]]) -> Coverage:
    """A coverage map with at most four rules for each name and glob in it.

    A larger map, which arises if globs overlap in many ways, is made coarser: all its regions of globs get the oldest
    time of any of them, so that changes may be delivered again, but none is lost. Single namespaces keep theirs.
    `wanted` gives the stream that the config assigns to each region.
    """
    names = {name for rule in coverage for name in (*rule.region.dbs, *rule.region.colls)}
    if len(coverage) <= 4 * len(names):
        return coverage
    single = [rule for rule in coverage if rule.region.exact]
    wide = [rule for rule in coverage if not rule.region.exact]
    oldest = min((rule.value.time for rule in wide if rule.value.time is not None), default=None)
    streams: dict[Region, str | None] = {rule.region: rule.value for rule in wanted if not rule.region.exact}
    for rule in wide:
        for db in rule.region.dbs:
            for coll in rule.region.colls:
                streams.setdefault(Region.of(db, coll), None)
    coarse: list[Rule[Covered]] = []
    for region, stream in streams.items():
        covered = any(rule.value.time is not None and rule.region.intersection(region) for rule in wide)
        coarse.append(Rule(region, Covered(stream, oldest if covered else None)))
    return simplify([*single, *coarse], NEVER)


def to_json(coverage: Coverage) -> list[Any]:
    """The stored form: lists of `[databases, collections, stream, seconds, increment]`."""
    return [
        [
            list(rule.region.dbs),
            list(rule.region.colls),
            rule.value.stream,
            *((None, None) if rule.value.time is None else (rule.value.time.time, rule.value.time.inc)),
        ]
        for rule in coverage
    ]


def from_json(stored: Any) -> Coverage:
    """The inverse of `to_json`. Raises ValueError, with the reason, for anything else."""
    if not isinstance(stored, list):
        raise ValueError("it is not a list")
    return tuple(_rule(index, entry) for index, entry in enumerate(stored))


def _rule(index: int, entry: Any) -> Rule[Covered]:
    try:
        dbs, colls, stream, seconds, increment = entry
        if not (_names(dbs) and _names(colls) and (stream is None or isinstance(stream, str))):
            raise TypeError("a name is not text")
        time = None if seconds is None else Timestamp(int(seconds), int(increment))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"rule {index} is unreadable: {error}") from error
    return Rule(Region(tuple(dbs), tuple(colls)), Covered(stream, time))


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
