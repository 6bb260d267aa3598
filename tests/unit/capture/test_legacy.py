"""State of MESS 0.1 is taken over without loss: no namespace continues later than it would have there."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from bson import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mess.capture.arrangement import Begin, Recorded, arrange
from mess.capture.coverage import lookup
from mess.capture.legacy import recorded_by
from mess.capture.plan import assignments, plan
from mess.config.model import Config
from mess.event import Namespace, Position
from mess.state.records import LegacyCheckpoint

NAMES = ["a", "b", "ab", "x"]
PATTERNS = [*NAMES, "*", "a*", "?", "*b"]
NAMESPACES = [Namespace(db, coll) for db in NAMES for coll in NAMES]


def entry(db: str, coll: str, apart_dbs: Any = (), apart_colls: Any = (), **more: Any) -> dict[str, Any]:
    return {"db": db, "coll": coll, "apart_dbs": list(apart_dbs), "apart_colls": list(apart_colls), **more}


def checkpoint(stream: str, at: int, entries: list[Any], rules: list[Any], plan: str = "") -> LegacyCheckpoint:
    position = Position({"_data": f"82{at:08X}00000001"}, Timestamp(at, 1))
    return LegacyCheckpoint(stream, plan, {"entries": entries, "rules": rules}, position)


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)


def _selects(each: dict[str, Any], namespace: Namespace) -> bool:
    db, coll = namespace
    return (
        _fits(db, each["db"])
        and _fits(coll, each["coll"])
        and not any(_fits(db, other) for other in each["apart_dbs"])
        and not any(_fits(coll, other) for other in each["apart_colls"])
    )


def version_1(checkpoints: list[LegacyCheckpoint], namespace: Namespace) -> int | None:
    """Up to when version 0.1 had processed a namespace: by the streams that select it, else by what it set aside."""
    for current in (True, False):
        times: list[int] = []
        for each in checkpoints:
            if each.stream.startswith("retired: ") == current:
                continue
            if current and not any(_selects(one, namespace) for one in each.selection["entries"]):
                continue
            found = [rule for rule in each.selection["rules"] if _selects(rule, namespace)]
            if found:
                rank = min(rule["rank"] for rule in found)
                assert each.position.time is not None
                oldest = min(rule["t"] for rule in found if rule["rank"] == rank)
                times.append(max(oldest, each.position.time.time))
        if times:
            return min(times)
    return None


patterns = st.sampled_from(PATTERNS)
entries = st.builds(entry, patterns, patterns, st.lists(patterns, max_size=2), st.lists(patterns, max_size=2))
rules = st.builds(
    lambda each, t, rank: {**each, "t": t, "i": 1, "rank": rank}, entries, st.integers(1, 50), st.integers(0, 1)
)
stored = st.builds(
    checkpoint,
    st.sampled_from(["a", "*", "b (off, off)", "retired: a", "retired: *"]),
    st.integers(1, 50),
    st.lists(entries, max_size=3),
    st.lists(rules, max_size=4),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(stored, max_size=4, unique_by=lambda each: each.stream))
def test_nothing_continues_later_than_in_version_1(checkpoints: list[LegacyCheckpoint]) -> None:
    folded = recorded_by(checkpoints).folded()
    for namespace in NAMESPACES:
        before = version_1(checkpoints, namespace)
        if before is not None:
            covered = lookup(folded, namespace)
            assert covered is not None
            assert covered.time is not None
            assert covered.time.time <= before


def test_an_unchanged_config_continues_from_its_token() -> None:
    """An upgrade delivers nothing twice."""
    config = Config.model_validate({"databases": {"shop": {"collections": {"a": {}, "b": {}}}}, "pipeline": ["log"]})
    [stream] = plan(config)
    both = [entry("shop", "a"), entry("shop", "b")]
    old = checkpoint("shop", 500, both, [{**each, "t": 1, "i": 1, "rank": 1} for each in both], plan=stream.hash)
    [start] = arrange([stream], assignments(config), recorded_by([old]), Begin(Timestamp(900, 1))).starts
    assert start.position == old.position


def test_what_was_set_aside_continues_where_it_was() -> None:
    retired = checkpoint("retired: shop", 300, [], [{**entry("shop", "b"), "t": 1, "i": 1, "rank": 0}])
    current = checkpoint("shop", 500, [entry("shop", "a")], [{**entry("shop", "a"), "t": 1, "i": 1, "rank": 1}])
    folded = Recorded(recorded_by([retired, current]).coverage, recorded_by([retired, current]).reached).folded()
    times = {coll: lookup(folded, Namespace("shop", coll)) for coll in "abc"}
    assert times["a"] is not None
    assert times["a"].time == Timestamp(500, 1)
    assert times["b"] is not None
    assert times["b"].time == Timestamp(300, 1)
    assert times["c"] is None


def test_selections_that_have_multiplied_are_taken_over_in_a_moment() -> None:
    """Fifty thousand rules that say the same, as 0.1 left them after the thirteenth deploy."""
    names = [f"c{number}" for number in range(13)]
    some = [entry("shop", name) for name in names] + [entry("shop", "*", (), names)]
    rules = [{**some[number % len(some)], "t": number % 7 + 1, "i": 1, "rank": 0} for number in range(50_000)]
    began = time.process_time()
    found = recorded_by([checkpoint("shop", 500, some, rules)])
    assert time.process_time() - began < 20
    assert len(found.coverage) < 10
    covered = lookup(found.folded(), Namespace("shop", "c3"))
    assert covered is not None
    assert covered.time == Timestamp(500, 1)


@pytest.mark.parametrize("rule", [{}, {"db": "a"}, "x", {**entry("a", "b"), "t": "soon", "i": 1, "rank": 0}, None])
def test_what_cannot_be_understood_names_its_stream(rule: Any) -> None:
    with pytest.raises(ValueError, match="shop: "):
        recorded_by([checkpoint("shop", 1, [], [rule])])
