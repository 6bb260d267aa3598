"""Rearranged configs lose nothing: which streams begin where, given what was recorded before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bson import Timestamp

from mess.capture.arrangement import Arrangement, Begin, Lost, Reached, Recorded, StreamStart, arrange
from mess.capture.coverage import NEVER, Covered, Rule, lookup, simplify, to_json
from mess.capture.plan import assignments, plan
from mess.capture.region import Region
from mess.config.model import Config
from mess.event import Namespace, Position

FRESH = Timestamp(1000, 1)


def config(databases: dict[str, Any]) -> Config:
    return Config.model_validate({"databases": databases, "pipeline": [{"name": "log"}]})


def arranged(
    databases: dict[str, Any], recorded: Recorded | None = None, fresh: Timestamp = FRESH, **options: Any
) -> Arrangement:
    """What a relay with this config starts with."""
    found = config(databases)
    begin = Begin(fresh, options.pop("oldest", False))
    return arrange(plan(found), assignments(found), recorded or Recorded(), begin, Lost(**options))


def recorded(databases: dict[str, Any], at: int, before: Recorded | None = None, fresh: int = 1) -> Recorded:
    """What a relay leaves behind that ran with this config until the time `at`."""
    found = arranged(databases, before, Timestamp(fresh, 1))
    position = Position({"_data": f"82{at:08X}00000001"}, Timestamp(at, 1))
    return Recorded(
        found.coverage, {start.name: Reached(start.plan.hash, position) for start in found.starts if not start.waits}
    )


def joined(*parts: Recorded) -> Recorded:
    """The records of relays with different configs as one's."""
    reached = {name: each for part in parts for name, each in part.reached.items()}
    rules = [rule for part in parts for rule in part.coverage if rule.value.time is not None]
    return Recorded(simplify(rules, NEVER), reached)


def starts(arrangement: Arrangement) -> dict[str, StreamStart]:
    return {start.name: start for start in arrangement.starts}


def since(arrangement: Arrangement, db: str, coll: str) -> int | None:
    """From when on a namespace's events are delivered."""
    covered = lookup(arrangement.coverage, Namespace(db, coll))
    return None if covered is None or covered.time is None else covered.time.time


def test_an_unchanged_stream_continues_from_its_token() -> None:
    before = recorded({"shop": {}}, 500)
    [start] = arranged({"shop": {}}, before).starts
    assert start.position == before.reached["shop"].position


def test_a_new_stream_begins_afresh_and_says_so() -> None:
    found = starts(arranged({"crm": {}, "shop": {}}, recorded({"shop": {}}, 500)))
    assert found["crm"].position == Position(None, FRESH)
    assert (found["crm"].new, found["shop"].new) == (True, False)


def test_the_oldest_change_may_be_gone_before_it_is_read_but_not_what_others_have_come_to() -> None:
    before = recorded({"shop": {"collections": {"orders": {}}}}, 500)
    now = {"shop": {"collections": {"orders": {}, "customers": {}}}, "crm": {}}
    begun = starts(arranged(now, before, Timestamp(300, 1), oldest=True))
    assert begun["crm"].latest is not None
    assert begun["crm"].latest > Timestamp(2_000_000_000, 1)
    assert {start.latest for start in arranged(now, before).starts} == {None}


def test_a_token_amid_a_transaction_says_nothing_of_what_another_stream_has_read_of_it() -> None:
    """All its changes have one cluster time: the main stream is past them, the one that catches up amid them."""
    shop = {"shop": {"collections": {"orders": {}, "returns": {}}}}
    [main] = plan(config(shop))
    orders, returns = Region.of("shop", "orders"), Region.of("shop", "returns")
    behind = main.narrowed("shop (catching up)", [returns])
    time = Timestamp(900, 7)

    def at(order: str) -> Position:
        return Position({"_data": f"82{time.time:08X}{time.inc:08X}{order}"}, time)

    coverage = (
        Rule(orders, Covered("shop", Timestamp(500, 1))),
        Rule(returns, Covered(behind.name, Timestamp(890, 1))),
    )
    reached = {"shop": Reached(main.hash, at("FF")), behind.name: Reached(behind.hash, at("11"))}
    [start] = arranged(shop, Recorded(coverage, reached)).starts
    assert start.position == Position(None, time)
    # What left the config, and comes back, may have been left amid it, too.
    left = (coverage[0], Rule(returns, Covered(None, time)))
    [start] = arranged(shop, Recorded(left, {"shop": reached["shop"]})).starts
    assert start.position == Position(None, time)
    # What the stream has read by itself goes on from its token.
    own = (coverage[0], Rule(returns, Covered("shop", Timestamp(500, 1))))
    [start] = arranged(shop, Recorded(own, {"shop": reached["shop"]})).starts
    assert start.position == at("FF")


def test_an_oplog_that_is_cut_between_two_looks_at_it_stops_nothing_that_begins_with_its_oldest_change() -> None:
    """`start: oldest`: the oldest change was at 300, and a moment later it is at 310."""
    before = recorded({"shop": {"collections": {"orders": {}}}}, 305)
    now = {"shop": {"collections": {"orders": {}, "customers": {}}}, "crm": {}}
    found = arranged(now, before, Timestamp(300, 1), oldest=True, before=Timestamp(310, 1))
    assert {start.name: start.waits for start in found.starts} == {
        "crm": False,
        "shop": False,
        "shop (history lost)": True,
    }
    assert since(found, "shop", "customers") == since(found, "crm", "any") == 300


def test_a_changed_query_continues_by_time_for_tokens_are_of_no_use_to_another_plan() -> None:
    found = arranged({"shop": {"operations": ["insert"]}}, recorded({"shop": {}}, 500))
    [start] = found.starts
    assert start.position == Position(None, Timestamp(500, 1))
    assert since(found, "shop", "orders") == 500


def test_an_added_collection_begins_afresh_while_the_others_continue() -> None:
    before = recorded({"shop": {"collections": {"orders": {}}}}, 500)
    found = arranged({"shop": {"collections": {"orders": {}, "customers": {}}}}, before)
    assert [start.position.time for start in found.starts] == [Timestamp(500, 1)]
    assert (since(found, "shop", "orders"), since(found, "shop", "customers")) == (500, 1000)


def test_widening_to_the_whole_database_keeps_the_collections_that_were_covered() -> None:
    found = arranged({"shop": {}}, recorded({"shop": {"collections": {"orders": {}}}}, 500))
    assert [start.position.time for start in found.starts] == [Timestamp(500, 1)]
    assert (since(found, "shop", "orders"), since(found, "shop", "new")) == (500, 1000)


def test_split_streams_both_continue() -> None:
    split = {"shop": {"collections": {"orders": {}, "logs": {"full_document": "off"}}}}
    found = arranged(split, recorded({"shop": {}}, 500))
    assert {start.position.time for start in found.starts} == {Timestamp(500, 1)}
    assert len(found.starts) == 2


def test_merged_streams_begin_at_the_oldest_and_deliver_nothing_twice() -> None:
    found = arranged({"*": {}}, joined(recorded({"a": {}}, 598), recorded({"b": {}}, 600)))
    assert [start.position.time for start in found.starts] == [Timestamp(598, 1)]
    assert (since(found, "a", "x"), since(found, "b", "x"), since(found, "c", "x")) == (598, 600, 1000)


def test_what_lies_far_behind_has_a_stream_of_its_own_until_it_has_caught_up() -> None:
    """Its siblings do not lag meanwhile; after a restart both continue where they were."""
    before = joined(recorded({"a": {}}, 100), recorded({"b": {}}, 600))
    found = starts(arranged({"*": {}}, before))
    assert {name: start.position.time for name, start in found.items()} == {
        "*": Timestamp(600, 1),
        "* (catching up)": Timestamp(100, 1),
    }
    behind = found["* (catching up)"]
    assert behind.joins == "*"
    assert "'a'" in str(behind.plan.match)
    assert "'b'" not in str(behind.plan.match)
    later = Recorded(
        arranged({"*": {}}, before).coverage,
        {
            "*": Reached(found["*"].plan.hash, Position({"_data": "x"}, Timestamp(900, 1))),
            behind.name: Reached(behind.plan.hash, Position({"_data": "y"}, Timestamp(200, 1))),
        },
    )
    again = starts(arranged({"*": {}}, later))
    assert again["*"].position.token == {"_data": "x"}
    assert again["* (catching up)"].position.time == Timestamp(200, 1)


def test_a_collection_that_is_watched_again_continues_where_it_stopped() -> None:
    """However often it leaves and comes back, in whatever order."""
    a, b = {"shop": {"collections": {"a": {}}}}, {"shop": {"collections": {"b": {}}}}
    record = recorded(a, 100, fresh=1)
    record = recorded(b, 200, record, fresh=150)
    record = recorded(a, 300, record, fresh=250)
    found = arranged(b, record, Timestamp(350, 1))
    assert [start.position.time for start in found.starts] == [Timestamp(200, 1)]
    assert (since(found, "shop", "b"), since(found, "shop", "a")) == (200, 300)
    assert since(found, "shop", "never") is None


def test_a_lost_position_moves_and_stops_no_others() -> None:
    """One expired of 50 collections."""
    names = [f"c{n}" for n in range(50)]
    record = recorded({"shop": {"collections": {"c7": {}}}}, 100)
    record = recorded({"shop": {"collections": {name: {} for name in names if name != "c7"}}}, 600, record, fresh=100)
    every = {"shop": {"collections": {name: {} for name in names}}}
    stopped = starts(arranged(every, record, before=Timestamp(400, 1)))
    assert stopped["shop"].position.time == Timestamp(600, 1)
    assert not stopped["shop"].waits
    assert stopped["shop (history lost)"].waits
    assert set(stopped) == {"shop", "shop (history lost)"}
    found = arranged(every, record, before=Timestamp(400, 1), go_on=Timestamp(1000, 1))
    [skipped] = found.skipped
    assert [str(region) for region in skipped.regions] == ["shop.c7"]
    assert (skipped.since, skipped.until) == (Timestamp(100, 1), Timestamp(1000, 1))
    assert [start.position.time for start in found.starts] == [Timestamp(600, 1)]
    assert since(found, "shop", "c7") == 1000


def test_a_stream_that_continues_from_now_leaves_its_lost_position() -> None:
    """Opened there, it would be lost a second time, and its gap recorded twice."""
    found = arranged({"shop": {}}, recorded({"shop": {}}, 100), before=Timestamp(400, 1), go_on=Timestamp(1000, 1))
    [start] = found.starts
    assert (start.position.token, start.position.time) == (None, Timestamp(1000, 1))
    assert len(found.skipped) == 1


def test_a_stream_that_waits_is_the_same_after_a_restart_and_continues_where_it_is_set() -> None:
    record = recorded({"shop": {}}, 100)
    for _ in range(3):
        found = arranged({"shop": {}}, record, before=Timestamp(400, 1))
        [start] = found.starts
        assert (start.name, start.waits) == ("shop", True)
        record = Recorded(found.coverage, {})
    assert since(arranged({"shop": {}}, record), "shop", "orders") == 100


def size(record: Recorded) -> int:
    return len(json.dumps(to_json(record.coverage)))


def test_deploys_that_each_name_one_more_collection_do_not_make_the_state_grow() -> None:
    """As version 0.1's did: 7 MB at the 13th."""
    collections: dict[str, Any] = {}
    record = Recorded()
    for number in range(30):
        collections[f"c{number}"] = {"full_document": "off"}
        record = recorded({"shop": {"collections": {**collections, "*": {}}}}, 10 + number, record, fresh=number + 1)
        assert size(record) < 4_000


def test_two_hundred_deploys_over_thirty_names_and_six_globs_stay_small() -> None:
    import random

    dice = random.Random(7)
    names = [f"c{number}" for number in range(15)] + [f"d{number}" for number in range(15)]
    globs = ["c*", "d*", "*1*", "*2", "?3", "*"]
    record = Recorded()
    largest = 0
    for deploy in range(200):
        chosen = dice.sample([*names, *globs], dice.randint(1, 20))
        options: Iterable[dict[str, Any]] = [{}, {"full_document": "off"}]
        databases: dict[str, Any] = {"shop": {"collections": {name: dice.choice(list(options)) for name in chosen}}}
        if dice.random() < 0.5:
            databases[dice.choice(["*", "s*", "sh?p", "x"])] = {"collections": {dice.choice([*names, *globs]): {}}}
        record = recorded(databases, deploy * 10 + 10, record, fresh=deploy * 10 + 5)
        largest = max(largest, size(record))
    assert largest < 20_000
