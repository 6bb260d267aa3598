"""What the checker expects of a relay whose config is rearranged."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Timestamp

from tests.checker.committed import Change, id_of
from tests.checker.runs import NEVER, Coverage, Run
from tests.checker.selection import Selection


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds, 0)


def change(seconds: int, coll: str = "a", db: str = "shop", operation: str = "insert", **options: Any) -> Change:
    token = f"82{seconds:08X}"
    key = bson.encode({"_id": seconds})
    return Change(
        seconds, id_of(token), token, Timestamp(seconds, 1), operation, db, coll, key, options.get("to"), None
    )


def selected(databases: dict[str, Any], **options: Any) -> Selection:
    config = {"databases": databases, "pipeline": "all", **options}
    matches = {repr({"even": 1}): lambda each: each.number % 2 == 0}
    return Selection(config, lambda pipeline: (pipeline,), matches)


def run(colls: str, began: int, ended: int | None, *, ready: int | None = None, **options: Any) -> Run:
    """A life that covers some collections of `shop`, ready a second after it began."""
    chosen = selected({"shop": {"collections": {coll: options.pop("scope", {}) for coll in colls}}})
    end = NEVER if ended is None else at(ended)
    drained = at(1000) if ended is None else None
    return Run(chosen, at(began), at(began + 1 if ready is None else ready), end, drained, **options)


def expected(runs: list[Run], of: Change) -> str:
    found = Coverage(runs).expectation(of)
    return "must" if found.must else "may" if found.choices else found.why


LEAVES = "no run covered its namespace after it was committed"
EARLY = "it was committed before its namespace was covered"


@pytest.mark.parametrize(
    ("second", "then"),
    [(5, EARLY), (10, "may"), (15, "must"), (25, "must"), (35, "must"), (45, "must")],
)
def test_a_collection_that_leaves_and_comes_back_misses_nothing_from_its_first_coverage_on(
    second: int, then: str
) -> None:
    """The relay is ready at 11; until then the moment at which it begins is unknown."""
    runs = [run("b", 10, 20), run("a", 20, 30), run("b", 30, 40), run("a", 40, 45), run("ab", 50, None)]
    assert expected(runs, change(second, "b")) == then


def test_a_collection_that_leaves_for_good_may_lose_only_what_was_not_passed() -> None:
    runs = [run("ab", 10, 20), run("a", 20, None)]
    assert expected(runs, change(15, "b")) == "may"
    assert expected(runs, change(25, "b")) == LEAVES
    assert expected(runs, change(25, "a")) == "must"
    assert expected(runs, change(25, "c")) == "no config selects its namespace"


def test_a_life_that_was_never_ready_may_or_may_not_have_begun_to_cover() -> None:
    killed = run("a", 10, 12)
    killed.ready = None
    runs = [killed, run("a", 20, None)]
    assert expected(runs, change(11)) == "may"
    assert expected(runs, change(15)) == "may"
    assert expected(runs, change(22)) == "must"


def test_with_start_oldest_everything_must_arrive() -> None:
    assert expected([run("a", 10, None, oldest=True)], change(5)) == "must"


def test_a_match_counts_where_it_is_in_force_when_a_change_is_passed() -> None:
    """Which of two lives passes it is unknown unless the first one had drained."""
    matching = run("a", 10, 20, scope={"match": {"even": 1}})
    runs = [matching, run("a", 20, None)]
    assert expected(runs, change(14)) == "must"
    assert expected(runs, change(15)) == "may"
    assert expected(runs, change(25)) == "must"
    matching.drained = at(19)
    assert expected(runs, change(15)) == "no config that was in force then selects it"


def test_the_most_specific_scope_wins() -> None:
    chosen = selected(
        {
            "shop": {"pipeline": "db", "collections": {"a*": {"pipeline": "glob"}, "ab": {}, "b": {"order": "none"}}},
            "sh*": {},
            "[a-c]": {"operations": ["delete"]},
        },
        state={"database": "b"},
    )

    def destination(db: str, coll: str) -> str | None:
        found = chosen.options(db, coll)
        return None if found is None else found.destinations[0]

    assert [destination("shop", coll) for coll in ("a", "ab", "b", "c", "")] == ["glob", "db", "db", None, "db"]
    assert [destination(db, "x") for db in ("sheep", "a", "b", "admin", "zoo")] == ["all", "all", None, None, None]
    options = chosen.options("a", "x")
    assert options is not None
    assert not options.wants(change(1, operation="insert"))


def test_a_rename_is_the_old_names_unless_only_the_new_one_is_selected() -> None:
    runs = [run("a", 10, None)]
    assert expected(runs, change(15, "a", operation="rename", to=("shop", "z"))) == "must"
    assert expected(runs, change(15, "z", operation="rename", to=("shop", "a"))) == "must"
    assert expected(runs, change(15, "z", operation="rename", to=("shop", "y"))) == "no config selects its namespace"
