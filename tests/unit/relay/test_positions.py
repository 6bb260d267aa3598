"""What operators do to stored positions, and that what they are told restores them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, cast

import pytest
from bson import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from mess.capture.coverage import NEVER, Covered, Rule, lookup, simplify, to_json
from mess.capture.region import Region
from mess.errors import ConfigError
from mess.event import Namespace, Position
from mess.relay.positions import NOT_WATCHED, forget, resume_at, resume_regions_at, rows
from mess.relay.resuming import recorded_in
from mess.state.records import Checkpoint
from mess.state.store import Positions, StateStore

PATTERNS = ["a", "b", "ab", "*", "a*", "*b", "[ab]", "a & b"]
NAMESPACES = [Namespace(db, coll) for db in ("a", "b", "ab", "x") for coll in ("", "a", "b", "ab", "a & b", "x")]


@dataclass
class Memory:
    """The positions of a relay that is not running."""

    relay: str = "mess"
    stored: Positions = field(default_factory=lambda: Positions([], ()))

    async def positions(self) -> Positions:
        return self.stored

    async def arrange(self, coverage: Any, checkpoints: Sequence[Checkpoint]) -> None:
        self.stored = Positions(coverage, tuple(checkpoints))

    async def gaps(self) -> list[Any]:
        return []

    async def record_gap(self, gap: Any) -> None:
        pass

    async def remove_gap(self, gap: Any) -> None:
        pass

    async def alive(self) -> None:
        return None

    async def take_over(self) -> int:
        return 1

    def reached(self, namespace: Namespace) -> Timestamp | None:
        return (lookup(recorded_in(self.stored, self.relay).folded(), namespace) or NEVER).time

    def all_reached(self) -> dict[Namespace, Timestamp | None]:
        return {each: self.reached(each) for each in NAMESPACES}

    def skips_nothing_since(self, before: dict[Namespace, Timestamp | None]) -> None:
        """Assert that every namespace that was covered is still, up to the same time or an earlier one."""
        for namespace, earlier in before.items():
            if earlier is not None:
                restored = self.reached(namespace)
                assert restored is not None, namespace
                assert restored <= earlier, namespace


def store_of(memory: Memory) -> StateStore:
    return cast(StateStore, memory)


async def now() -> Timestamp:
    raise AssertionError("only a stopped stream needs it")


times = st.builds(Timestamp, st.integers(1, 9), st.integers(1, 3))
streams = st.sampled_from(["one", "one (catching up)", "one (history lost)", "two", "gone", None])
simple = st.builds(Region.of, st.sampled_from(PATTERNS[:-1]), st.sampled_from([*PATTERNS, ""]))
regions = st.builds(lambda one, other: one.intersection(other) or one, simple, simple)
covered = st.builds(Covered, streams, st.one_of(times, st.none()))
maps = st.lists(st.builds(Rule, regions, covered), min_size=1, max_size=6)
rest = st.sampled_from([[], [Rule(Region.of("*", "*"), "one"), Rule(Region.of("*", ""), "one")]])
configs = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(st.builds(Rule, regions, st.sampled_from(["one", "two", None])), max_size=3),
    rest,
)

reached_by = st.dictionaries(st.sampled_from(["one", "two", "one (catching up)", "gone"]), times)
named = st.sampled_from([None, "one", "one (catching up)", NOT_WATCHED, "gone"])


def recorded(coverage: Any, positions: dict[str, Timestamp]) -> Memory:
    updated = datetime(2026, 1, 1, tzinfo=timezone.utc)
    named = {rule.value.stream for rule in coverage}
    checkpoints = [
        Checkpoint(name, "plan", Position({"_data": "8200"}, time), updated)
        for name, time in positions.items()
        if name in named
    ]
    return Memory(stored=Positions(to_json(simplify(coverage, NEVER)), tuple(checkpoints)))


@settings(deadline=None, max_examples=300)
@given(
    maps,
    reached_by,
    configs,
    named,
)
def test_what_a_reset_prints_restores_everything_or_moves_it_back(
    coverage: Any, positions: dict[str, Timestamp], assigned: Any, stream: str | None
) -> None:
    """Nothing that was covered is skipped, whatever the config, the parts of streams, and what is not watched."""
    memory = recorded(coverage, positions)
    before = memory.all_reached()

    async def go() -> None:
        store = store_of(memory)
        try:
            removed = await forget(store, assigned, now, stream=stream, force=False)
        except ConfigError:
            assert stream is not None
            return
        for each in removed:
            if each.regions:
                read = [Region.parse(region.text) for region in each.regions]
                await resume_regions_at(store, assigned, each.time, read, force=False)
            else:
                await resume_at(store, assigned, each.time, stream=each.stream, force=False)

    asyncio.run(go())
    memory.skips_nothing_since(before)


@settings(deadline=None, max_examples=300)
@given(
    maps,
    reached_by,
    configs,
    times,
    named,
)
def test_what_setting_a_time_prints_restores_everything_or_moves_it_back(
    coverage: Any, positions: dict[str, Timestamp], assigned: Any, time: Timestamp, stream: str | None
) -> None:
    memory = recorded(coverage, positions)
    before = memory.all_reached()

    async def go() -> None:
        store = store_of(memory)
        try:
            undo = await resume_at(store, assigned, time, stream=stream, force=False)
        except ConfigError:
            assert stream is not None
            return
        for name, earlier in undo.items():
            if earlier is None:
                await forget(store, assigned, now, stream=name, force=False)
            else:
                await resume_at(store, assigned, earlier, stream=name, force=False)

    asyncio.run(go())
    memory.skips_nothing_since(before)


@settings(deadline=None)
@given(maps, st.dictionaries(st.sampled_from(["one", "two"]), times), configs, times, st.lists(regions, min_size=1))
def test_regions_are_only_ever_moved_back(
    coverage: Any, positions: dict[str, Timestamp], assigned: Any, time: Timestamp, chosen: list[Region]
) -> None:
    memory = recorded(coverage, positions)
    before = memory.all_reached()
    asyncio.run(resume_regions_at(store_of(memory), assigned, time, chosen, force=False))
    for namespace, earlier in before.items():
        if any(region.contains(namespace) for region in chosen):
            assert memory.reached(namespace) == min(time, earlier or time)
        else:
            assert memory.reached(namespace) == earlier


async def test_resetting_a_stream_resets_the_part_that_catches_up_too() -> None:
    """And the position to restore is that of the part that is furthest behind."""
    coverage = [
        Rule(Region.of("shop", "b"), Covered("shop (catching up)", Timestamp(3, 1))),
        Rule(Region.of("shop", "*"), Covered("shop", Timestamp(9, 1))),
    ]
    memory = recorded(coverage, {"shop": Timestamp(10, 1)})
    assigned = [Rule(Region.of("shop", "*"), "shop")]
    [removed] = await forget(store_of(memory), assigned, now, stream="shop", force=False)
    assert (removed.stream, removed.time, removed.regions) == ("shop", Timestamp(3, 1), ())
    assert await rows(store_of(memory)) == []


@given(regions)
def test_a_region_is_read_as_it_was_written(region: Region) -> None:
    read = Region.parse(region.text)
    assert all(read.contains(each) == region.contains(each) for each in NAMESPACES)


@pytest.mark.parametrize("text", ["", "shop", ".orders"])
def test_what_is_no_region_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not DATABASE\.COLLECTION"):
        Region.parse(text)
