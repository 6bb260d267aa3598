"""Which events a stream delivers, and by which pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from bson import Timestamp

from mess.capture.tokens import position_after
from mess.config.model import Config
from mess.event import Namespace
from mess.relay.completion import Completion
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.router import Claim, LaneGroups, ScopeRouter
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.telemetry.observer import PipelineObserver

LIVE, TMP, OTHER = (Namespace("shop", name) for name in ("live", "tmp", "other"))
EARLY, RENAMED, LATE = (Timestamp(second, 1) for second in (10, 20, 30))


def router(own: Mapping[Namespace, Timestamp], elsewhere: Mapping[Namespace, Timestamp] | None = None) -> ScopeRouter:
    """The router of a stream that delivers `own` while others deliver `elsewhere`; each has a pipeline of its own."""
    collections = {each.coll: {"pipeline": ["log"]} for each in (LIVE, TMP)}
    config = Config.model_validate({"databases": {"shop": {"collections": collections}}})
    pipelines = {f"shop.{coll}": Pipeline(f"shop.{coll}", [], Stopping()) for coll in collections}
    all_of_them = {**own, **(elsewhere or {})}
    return ScopeRouter(config, Claim(own.get, all_of_them.get), EARLY, pipelines, LaneGroups(_lane, 1000))


def _lane(pipeline: Pipeline) -> Lane:
    def ignore(*_: Any) -> None:
        pass

    return Lane(
        pipeline,
        Completion(Window(1, 1, position_after), PipelineObserver()),
        wants_more=ignore,
    )


def same(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one.lanes is other.lanes


@pytest.mark.parametrize("time", [RENAMED, None])
def test_a_rename_belongs_to_its_old_name_where_that_is_delivered(time: Timestamp | None) -> None:
    found = router({LIVE: EARLY, TMP: EARLY})
    assert same(found.route_rename(TMP, LIVE, time), found.route(TMP))


def test_a_rename_belongs_to_its_new_name_where_the_old_one_is_delivered_only_later() -> None:
    """Or nobody would deliver it: the old name's events are passed over up to then."""
    for found in (router({LIVE: EARLY, TMP: LATE}), router({LIVE: EARLY}, {TMP: LATE})):
        assert same(found.route_rename(TMP, LIVE, RENAMED), found.route(LIVE))


def test_a_rename_that_another_stream_delivers_by_its_old_name_is_not_delivered_twice() -> None:
    assert router({LIVE: EARLY}, {TMP: EARLY}).route_rename(TMP, LIVE, RENAMED) is None


def test_a_rename_from_a_name_that_the_config_leaves_out_belongs_to_the_new_one() -> None:
    found = router({LIVE: EARLY})
    assert same(found.route_rename(OTHER, LIVE, RENAMED), found.route(LIVE))
    assert found.route_rename(LIVE, OTHER, RENAMED) is not None


def test_collections_that_keep_their_order_by_a_value_share_lanes() -> None:
    """Whichever field each of them names; with another order they do not."""
    orders = {
        "live": {"order": {"by": "fullDocument.account"}},
        "tmp": {"order": {"by": "documentKey._id"}},
        "other": {"order": "collection"},
    }
    config = Config.model_validate({"databases": {"shop": {"collections": orders}}, "pipeline": ["log"]})
    pipelines = {"top level": Pipeline("top level", [], Stopping())}
    own = dict.fromkeys((LIVE, TMP, OTHER), EARLY)
    found = ScopeRouter(config, Claim(own.get, own.get), EARLY, pipelines, LaneGroups(_lane, 1000))
    live, tmp, other = (found.route(each) for each in (LIVE, TMP, OTHER))
    assert found.by_value
    assert same(live, tmp)
    assert not same(live, other)
    assert live is not None
    assert live.order == ("fullDocument", "account")
    assert not router({LIVE: EARLY}).by_value
