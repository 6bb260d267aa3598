"""The coverage map: whatever names and globs overlap, each namespace has the value that was given to it."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from mess.capture.coverage import (
    NEVER,
    Coverage,
    Covered,
    Rule,
    bounded,
    combine,
    from_json,
    lookup,
    simplify,
    to_json,
)
from mess.capture.region import Region
from mess.event import Namespace

NAMES = ["a", "b", "ab", "abc", "ba", "cab", "x", "[", "a]"]
PATTERNS = [*NAMES, "*", "?", "a*", "*b", "*a*", "a?", "[ab]", "[!a]*", "ab*", "??", "[", "*]"]
NAMESPACES = [Namespace(db, coll) for db in NAMES for coll in ["", *NAMES]]

patterns = st.sampled_from(PATTERNS)
regions = st.builds(Region.of, patterns, st.sampled_from([*PATTERNS, ""]))
maps = st.lists(st.builds(Rule, regions, st.integers(0, 3)), max_size=6)


@settings(deadline=None)
@given(maps, maps, maps)
def test_combined_maps_give_each_namespace_its_value_in_each(one: Any, two: Any, three: Any) -> None:
    both = combine(one, two, lambda first, second: (first, second))
    every = combine(simplify(both, (None, None)), three, lambda first, second: (*(first or (None, None)), second))
    for namespace in NAMESPACES:
        expected = tuple(lookup(each, namespace) for each in (one, two, three))
        assert (lookup(every, namespace) or (None, None, None)) == expected


@settings(deadline=None)
@given(regions, regions)
def test_what_a_region_says_of_another_is_true(one: Region, other: Region) -> None:
    """Within, and their intersection."""
    both = one.intersection(other)
    for namespace in NAMESPACES:
        in_one, in_other = one.contains(namespace), other.contains(namespace)
        assert (both is not None and both.contains(namespace)) == (in_one and in_other)
        assert not (one.within(other) and in_one) or in_other


times = st.builds(Timestamp, st.integers(1, 9), st.just(1))
covered = st.builds(Covered, st.sampled_from([None, "a", "b"]), st.one_of(st.none(), times))


@settings(deadline=None)
@given(st.lists(st.builds(Rule, regions, covered), max_size=8), st.lists(st.builds(Rule, regions, covered), max_size=8))
def test_a_map_that_becomes_coarser_is_never_later(one: Any, two: Any) -> None:
    """What was covered stays covered, at its time or an earlier one; a single namespace keeps its own."""
    full = combine(one, two, lambda first, second: first or second or NEVER)
    coarse = bounded(tuple(full), [Rule(Region.of("a*", "*"), "a"), Rule(Region.of("*", "?"), None)])
    for namespace in NAMESPACES:
        before, after = lookup(full, namespace) or NEVER, lookup(coarse, namespace) or NEVER
        if before.time is not None:
            assert after.time is not None
            assert after.time <= before.time


@settings(deadline=None)
@given(st.lists(st.builds(Rule, regions, covered), max_size=8))
def test_a_map_is_read_as_it_was_written(rules: Any) -> None:
    assert from_json(to_json(tuple(rules))) == tuple(rules)


@pytest.mark.parametrize(
    "stored",
    [
        "none",
        {},
        [1],
        [[["a"], ["b"], "s", 1]],
        [[[], ["b"], "s", 1, 1]],
        [[["a"], ["b"], 5, 1, 1]],
        [[["a"], [None], "s", 1, 1]],
        [[["a"], ["b"], "s", "soon", 1]],
        [[["a"], ["b"], "s", -1, 1]],
        [[["a"], ["b"], "s", 1, 2**40]],
    ],
)
def test_what_is_no_map_is_told_with_the_rule(stored: Any) -> None:
    with pytest.raises(ValueError, match=r"not a list|rule 0 is unreadable"):
        from_json(stored)


def test_a_thousand_names_are_combined_in_a_moment() -> None:
    """The work grows with the square of the names at most; with its cube this would take minutes."""
    before = tuple(Rule(Region.of("d", f"c{n}"), Covered("d", Timestamp(n + 1, 1))) for n in range(1000))
    after = [*(Rule(Region.of("d", f"c{n}"), "d") for n in range(500, 1500)), Rule(Region.of("*", "*"), "*")]

    def both(one: Covered | None, stream: str | None) -> Covered:
        return Covered(stream, None if one is None else one.time)

    found: Coverage = simplify(combine(before, after, both), NEVER)
    assert lookup(found, Namespace("d", "c700")) == Covered("d", Timestamp(701, 1))
    assert lookup(found, Namespace("d", "c100")) == Covered("*", Timestamp(101, 1))
    assert lookup(found, Namespace("d", "new")) == Covered("*", None)
