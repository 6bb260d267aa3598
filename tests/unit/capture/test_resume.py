"""Rearranged configs lose nothing: where streams begin, given what was recorded before."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from bson import Timestamp

from mess.capture import resume
from mess.capture.plan import StreamPlan, plan
from mess.config.model import Config
from mess.event import Namespace, Position
from mess.state.store import Checkpoint

FRESH = Timestamp(1000, 1)
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def plans(databases: dict[str, Any]) -> list[StreamPlan]:
    return plan(Config.model_validate({"databases": databases, "pipeline": [{"name": "log"}]}))


def recorded(databases: dict[str, Any], at: int, stored: list[Checkpoint] | None = None) -> list[Checkpoint]:
    """The checkpoints of a relay that ran with this config until the time `at`."""
    streams = plans(databases)
    begun = resume.starts(streams, stored or [], Timestamp(1, 1))
    position = Position({"_data": f"82{at:08X}00000001"}, Timestamp(at, 1))
    return [
        Checkpoint(s.name, s.hash, resume.describe(s.selection, begun[s.name].rules), position, NOW) for s in streams
    ]


def test_an_unchanged_stream_goes_on_behind_its_token() -> None:
    stored = recorded({"shop": {}}, 500)
    start = resume.starts(plans({"shop": {}}), stored, FRESH)["shop"]
    assert start.position == stored[0].position
    assert start.since(Namespace("shop", "orders")) is None


def test_a_new_stream_begins_afresh() -> None:
    start = resume.starts(plans({"crm": {}}), recorded({"shop": {}}, 500), FRESH)["crm"]
    assert start.position == Position(None, FRESH)


def test_the_oldest_change_may_be_gone_before_it_is_read_but_not_what_others_have_come_to() -> None:
    stored = recorded({"shop": {"collections": {"orders": {}}}}, 500)
    now = {"shop": {"collections": {"orders": {}, "customers": {}}}, "crm": {}}
    begun = resume.starts(plans(now), stored, Timestamp(300, 1), oldest=True)
    assert begun["shop"].latest == Timestamp(500, 1)
    assert begun["crm"].latest is not None
    assert begun["crm"].latest > Timestamp(2_000_000_000, 1)
    behind = resume.starts(plans(now), stored, Timestamp(600, 1), oldest=True)["shop"]
    assert (behind.position.time, behind.latest) == (Timestamp(500, 1), None)
    assert {start.latest for start in resume.starts(plans(now), stored, FRESH).values()} == {None}


def test_a_changed_query_goes_on_by_time_for_tokens_are_of_no_use_to_another_plan() -> None:
    stored = recorded({"shop": {}}, 500)
    start = resume.starts(plans({"shop": {"operations": ["insert"]}}), stored, FRESH)["shop"]
    assert start.position == Position(None, Timestamp(500, 1))
    assert start.since(Namespace("shop", "orders")) is None


def test_an_added_collection_begins_afresh_while_the_others_go_on() -> None:
    stored = recorded({"shop": {"collections": {"orders": {}}}}, 500)
    start = resume.starts(plans({"shop": {"collections": {"orders": {}, "customers": {}}}}), stored, FRESH)["shop"]
    assert start.position.time == Timestamp(500, 1)
    assert start.since(Namespace("shop", "orders")) is None
    assert start.since(Namespace("shop", "customers")) == FRESH


def test_widening_to_the_whole_database_keeps_the_collections_that_were_covered() -> None:
    stored = recorded({"shop": {"collections": {"orders": {}}}}, 500)
    start = resume.starts(plans({"shop": {}}), stored, FRESH)["shop"]
    assert start.position.time == Timestamp(500, 1)
    assert start.since(Namespace("shop", "orders")) is None
    assert start.since(Namespace("shop", "new")) == FRESH


def test_split_streams_both_inherit() -> None:
    stored = recorded({"shop": {}}, 500)
    split = plans({"shop": {"collections": {"orders": {}, "logs": {"full_document": "off"}}}})
    starts = resume.starts(split, stored, FRESH)
    assert {start.position.time for start in starts.values()} == {Timestamp(500, 1)}


def test_merged_streams_begin_at_the_oldest_and_deliver_nothing_twice() -> None:
    stored = recorded({"a": {}}, 500) + recorded({"b": {}}, 600)
    start = resume.starts(plans({"*": {}}), stored, FRESH)["*"]
    assert start.position.time == Timestamp(500, 1)
    assert start.since(Namespace("a", "x")) is None
    assert start.since(Namespace("b", "x")) == Timestamp(600, 1)
    assert start.since(Namespace("c", "x")) == FRESH


def test_what_is_left_out_survives_a_second_restart() -> None:
    stored = recorded({"a": {}}, 500) + recorded({"b": {}}, 600)
    merged = plans({"*": {}})
    begun = resume.starts(merged, stored, FRESH)["*"]
    early = Checkpoint(
        "*",
        merged[0].hash,
        resume.describe(merged[0].selection, begun.rules),
        Position({"_data": "x"}, Timestamp(550, 1)),
        NOW,
    )
    again = resume.starts(merged, [early], Timestamp(2000, 1))["*"]
    assert again.since(Namespace("b", "x")) == Timestamp(600, 1)
    assert again.since(Namespace("c", "x")) == FRESH


def test_a_collection_that_is_watched_again_goes_on_where_it_was_left() -> None:
    both = {"shop": {"collections": {"orders": {}, "customers": {}}}}
    one = {"shop": {"collections": {"orders": {}}}}
    stored = recorded(both, 500)
    keep, delete = resume.leftovers(plans(one), stored)
    assert delete == []
    stored = keep + recorded(one, 700, stored)
    start = resume.starts(plans(both), stored, FRESH)["shop"]
    assert start.position.time == Timestamp(500, 1)
    assert start.since(Namespace("shop", "orders")) == Timestamp(700, 1)
    assert start.since(Namespace("shop", "customers")) is None


def test_a_checkpoint_that_a_user_moves_back_gives_all_from_there() -> None:
    """Also of what the stream did not want then."""
    streams = plans({"shop": {}})
    [stored] = recorded({"shop": {}}, 500)
    start = resume.starts(streams, [resume.moved(stored, Timestamp(300, 1))], FRESH)["shop"]
    assert start.position == Position(None, Timestamp(300, 1))
    assert start.since(Namespace("shop", "orders")) is None


def test_checkpoints_of_streams_that_are_gone_are_deleted_when_others_cover_them() -> None:
    stored = recorded({"a": {}}, 500) + recorded({"b": {}}, 600)
    keep, delete = resume.leftovers(plans({"*": {}}), stored)
    assert keep == []
    assert sorted(delete) == ["a", "b"]
