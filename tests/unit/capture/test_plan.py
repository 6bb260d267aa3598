"""From config to the fewest change streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import Regex

from mess.capture.coverage import lookup
from mess.capture.plan import StreamPlan, assignments, plan
from mess.capture.region import Region
from mess.config.model import Config
from mess.errors import ConfigError
from mess.event import Namespace


def plans(databases: dict[str, Any], **top: Any) -> list[StreamPlan]:
    return plan(Config.model_validate({"databases": databases, "pipeline": [{"name": "log"}], **top}))


def either(*names: str) -> dict[str, Any]:
    """The condition for a collection's name, or its new name, to be one of these."""
    return {"$or": [{"$expr": {"$in": [path, {"$literal": list(names)}]}} for path in ("$ns.coll", "$to.coll")]}


def test_a_whole_database_is_one_stream_without_a_filter() -> None:
    [stream] = plans({"shop": {}})
    assert (stream.name, stream.database, stream.match) == ("shop", "shop", None)
    assert stream.stages() == [{"$changeStream": {"fullDocument": "updateLookup"}}]


def test_each_database_has_one_stream_however_many_collections() -> None:
    streams = plans({"shop": {"collections": {f"c{n}": {} for n in range(50)}}, "crm": {}})
    assert [stream.name for stream in streams] == ["shop", "crm"]


def test_chosen_collections_are_filtered_by_mongodb_and_what_closes_the_stream_is_always_seen() -> None:
    [stream] = plans({"shop": {"collections": {"orders": {}, "customers": {}}}})
    assert stream.match == {
        "$or": [
            {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
            either("orders", "customers"),
        ]
    }


def test_a_query_and_chosen_operations_hold_for_their_collection_only() -> None:
    [stream] = plans(
        {
            "shop": {
                "collections": {
                    "orders": {"match": {"fullDocument.total": {"$gte": 100}}, "operations": ["insert"]},
                    "customers": {},
                }
            }
        }
    )
    assert stream.match is not None
    [_, orders, customers] = stream.match["$or"]
    assert orders["$and"][1:] == [{"operationType": {"$in": ["insert"]}}, {"fullDocument.total": {"$gte": 100}}]
    assert customers == either("customers")


def test_stream_options_of_their_own_make_a_stream_of_their_own() -> None:
    streams = plans({"shop": {"collections": {"orders": {}, "logs": {"full_document": "off"}}}})
    assert [stream.full_document for stream in streams] == ["update_lookup", "off"]
    assert len({stream.name for stream in streams}) == 2


def test_collections_that_exclude_the_same_fields_share_a_stream_and_its_order_does_not_matter() -> None:
    """Whatever covers another path counts for both."""
    collections = {
        "orders": {"exclude": ["card.number", "password"]},
        "users": {"exclude": ["password", "card.number", "password.hash"]},
        "logs": {},
        "more": {"exclude": []},
    }
    excluding, whole = plans({"shop": {"collections": collections}}, exclude=["token"])[:2], plans({"shop": {}})[0]
    assert [stream.exclude for stream in excluding] == [("card.number", "password"), ("token",)]
    assert [entry.coll for entry in excluding[0].selection.entries] == ["orders", "users"]
    assert whole.exclude == ()


def test_streams_that_exclude_different_fields_have_different_names() -> None:
    many = [f"field{number}" for number in range(20)]
    collections = {"a": {}, "b": {"exclude": ["x", "y.z"]}, "c": {"exclude": many}, "d": {"exclude": many[1:]}}
    databases: dict[str, Any] = {"shop": {"collections": collections}}
    names = [stream.name for stream in plans(databases)]
    assert names[:2] == ["shop", "shop (update_lookup, off, without x y.z)"]
    assert names[2].startswith("shop (update_lookup, off, without 20 fields ")
    assert len(set(names)) == 4
    config = Config.model_validate({"databases": databases, "pipeline": ["log"]})
    assert [lookup(assignments(config), Namespace("shop", coll)) for coll in "abcd"] == names


def test_excluded_fields_are_removed_after_the_query_and_last_but_for_fewer_fields() -> None:
    [stream] = plans({"shop": {"match": {"fullDocument.password": "x"}, "exclude": ["password"]}})
    stages = replace(stream, fields=("ns",)).stages()
    assert [next(iter(stage)) for stage in stages] == ["$changeStream", "$match", "$set", "$project", "$project"]
    assert stages[3] == {"$project": {"fullDocument.password": 0, "fullDocumentBeforeChange.password": 0}}


def test_a_glob_does_not_select_a_collection_of_another_stream_that_excludes_fields() -> None:
    """What a stream selects, it sends; so it must not select what another one is to clean."""
    _, others = plans({"shop": {"collections": {"users": {"exclude": ["password"]}, "*": {}}}})
    assert not others.selection.selects(Namespace("shop", "users"))
    assert others.match is not None
    assert {"ns.coll": {"$nin": ["users"]}} in others.match["$or"][-1]["$or"]


def test_what_is_excluded_does_not_invalidate_a_position() -> None:
    """A stream without some fields has the same events, so it continues from the same token."""
    [one], [other] = plans({"shop": {}}), plans({"shop": {"exclude": ["password"]}})
    assert one.hash == other.hash
    assert one.name == other.name


def test_a_part_of_a_stream_excludes_the_same_fields() -> None:
    [stream] = plans({"shop": {"exclude": ["password"]}})
    part = stream.narrowed("shop (catching up)", [Region.of("shop", "orders")])
    assert part.stages()[2:] == stream.stages()[1:]


def test_globs_of_databases_share_one_stream_that_leaves_the_named_ones_out() -> None:
    named, deployment = plans({"shop": {}, "tenant_*": {}, "t?": {}})
    assert named.database == "shop"
    assert deployment.database is None
    assert deployment.stages()[0]["$changeStream"]["allChangesForCluster"] is True
    assert deployment.selection.selects(Namespace("tenant_7", "orders"))
    assert deployment.selection.selects(Namespace("t1", "orders"))
    assert not deployment.selection.selects(Namespace("shop", "orders"))


def test_the_deployments_own_databases_and_the_state_are_never_watched() -> None:
    [stream] = plans({"*": {}}, state={"database": "mess-state"})
    assert stream.match is not None
    text = str(stream.match)
    for name in ("admin", "local", "config", "mess-state"):
        assert f"'{name}'" in text


@pytest.mark.parametrize(
    "databases",
    [
        {"shop": {"collections": {"orders": {}}}},
        {"shop": {"full_document": "off"}},
        {"shop": {"match": {"operationType": "insert"}}},
        {"shop": {"operations": ["insert"]}},
    ],
)
def test_the_hash_tells_streams_apart(databases: dict[str, Any]) -> None:
    [one], [other], [same] = plans({"shop": {}}), plans(databases), plans(databases)
    assert one.hash != other.hash
    assert other.hash == same.hash


def test_extended_json_in_a_query_becomes_bson() -> None:
    [stream] = plans({"shop": {"match": {"fullDocument.at": {"$gte": {"$date": "2026-01-01T00:00:00Z"}}}}})
    assert stream.match is not None
    assert stream.match["$or"][-1]["fullDocument.at"]["$gte"].year == 2026


def test_a_stream_that_is_to_give_fewer_fields_is_the_same_stream() -> None:
    """MongoDB leaves the others out, last of all."""
    [stream] = plans({"shop": {"match": {"fullDocument.total": 1}}})
    smaller = replace(stream, fields=("ns", "operationType"))
    assert smaller.stages() == [*stream.stages(), {"$project": {"ns": 1, "operationType": 1}}]
    assert smaller.hash == stream.hash


def test_no_operations_means_all_that_mongodb_sends_and_some_are_filtered_by_it() -> None:
    """Also those that MESS does not know."""
    assert plans({"shop": {}})[0].match is None
    [stream] = plans({"shop": {"operations": ["insert", "somethingNew"]}})
    assert stream.match is not None
    assert stream.match["$or"][1] == {"operationType": {"$in": ["insert", "somethingNew"]}}


@pytest.mark.parametrize("value", [True, False])
def test_expanded_events_are_asked_for_as_the_config_says(value: bool) -> None:
    [stream] = plans({"shop": {}}, show_expanded_events=value)
    assert stream.stages()[0]["$changeStream"]["showExpandedEvents"] is value
    assert stream.hash != plans({"shop": {}})[0].hash


def test_a_stream_knows_which_queries_it_has() -> None:
    """So that a query that MongoDB refuses is reported by its place in the config."""
    query = {"operationType": "insert"}
    collections = {"a": {"match": query}, "b": {}, "c.d": {"match": query}}
    [shop, crm] = plans({"shop": {"collections": collections, "match": query}, "crm": {}}, match=query)
    assert shop.queries == (
        "databases.shop.collections.a.match",
        "databases.shop.match",
        'databases.shop.collections["c.d"].match',
    )
    assert crm.queries == ("match",)
    assert plans({"shop": {}})[0].queries == ()


@pytest.mark.parametrize("collections", [{}, {"collections": {"orders": {}}}], ids=["all", "chosen"])
def test_an_empty_query_of_a_database_stands_in_for_the_top_levels_for_its_drop_too(
    collections: dict[str, Any],
) -> None:
    query = {"operationType": "insert"}
    [shop, crm] = plans({"shop": {"match": {}, **collections}, "crm": collections}, match=query)
    assert (shop.match is None) == (not collections)
    if shop.match is not None:
        assert shop.match["$or"][0] == {"operationType": {"$in": ["dropDatabase", "invalidate"]}}
    assert shop.queries == ()
    assert crm.match is not None
    assert crm.match["$or"][1] == {"$and": [{"operationType": "dropDatabase"}, query]}


def test_an_empty_query_of_globbed_databases_stands_in_for_the_top_levels_for_their_drop_too() -> None:
    query = {"operationType": "insert"}
    [stream] = plans({"tenant_*": {"match": {}}, "crm_*": {}}, match=query)
    assert stream.match is not None
    [_, tenants, others] = stream.match["$or"][:3]
    assert query not in tenants["$and"]
    assert others["$and"][-1] == query


GLOBS: dict[str, Any] = {f"c{number}_*": {} for number in range(1000)}
DIFFERING: dict[str, Any] = {glob: {"match": {"fullDocument.n": n}} for n, glob in enumerate(GLOBS)}
ALTERNATING: dict[str, Any] = {glob: {"operations": ["insert"]} if n % 2 else {} for n, glob in enumerate(GLOBS)}


@pytest.mark.parametrize(
    ("collections", "most"),
    [(GLOBS, 100_000), (ALTERNATING, 100_000), (DIFFERING, 700_000)],
    ids=["alike", "alternating", "differing"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["collections", "databases"])
def test_a_thousand_globs_are_a_query_that_mongodb_takes(collections: dict[str, Any], most: int, whole: bool) -> None:
    """It multiplies what it is asked for when it plans how to read its oplog, so that a few megabytes are too much."""
    [stream] = plans(collections if whole else {"shop": {"collections": {"orders": {}, **collections}}})
    assert len(bson.encode({"pipeline": stream.stages()})) < most


def test_a_part_of_a_stream_with_a_thousand_globs_is_a_few_regular_expressions_too() -> None:
    """MongoDB evaluates each for every change: it took a tenth of a second for one."""
    [stream] = plans({"shop": {"collections": GLOBS}})
    part = stream.narrowed("shop (catching up)", [Region.of("shop", glob) for glob in GLOBS])
    assert str(part.match).count("Regex(") < 40


def test_globs_of_which_the_same_is_wanted_are_one_condition() -> None:
    [stream] = plans({"shop": {"collections": {"a*": {}, "[bc]": {}}}})
    pattern = r"^(?:(?s:a.*)\Z|(?s:[bc])\Z)"
    expected = [{path: {"$in": [Regex(pattern)]}} for path in ("ns.coll", "to.coll")]
    assert stream.match == {"$or": [{"operationType": {"$in": ["dropDatabase", "invalidate"]}}, {"$or": expected}]}


def test_globs_that_ask_for_more_than_mongodb_takes_are_a_mistake_of_the_config() -> None:
    """With its place and the remedy; all places are reported together."""
    overlapping = {f"*{number:0250}*": {"match": {"fullDocument.n": number}} for number in range(200)}
    with pytest.raises(ConfigError) as caught:
        plans({"shop": {"collections": overlapping}, "crm": {}, "d.*": {"collections": overlapping}})
    problems = caught.value.problems
    assert [each.path for each in problems] == ["databases.shop.collections", "databases"]
    assert "write fewer names and globs" in problems[0].message


def test_what_is_wanted_of_one_glob_does_not_pass_for_another_of_the_same_names() -> None:
    """An insert has no `to`, which must not count as a name that is none of those left out."""
    [stream] = plans({"shop": {"collections": {"orders": {"match": {"fullDocument.n": 1}}, "*": {}}}})
    assert stream.match is not None
    assert stream.match["$or"][-1] == {
        "$or": [{"ns.coll": {"$nin": ["orders"]}}, {"to.coll": {"$nin": ["orders", None]}}]
    }


def test_events_of_a_whole_database_come_with_a_stream_that_asks_for_them() -> None:
    config = Config.model_validate(
        {"databases": {"a*": {"full_document": "off", "match": {"n": 1}}, "b*": {}}, "pipeline": ["log"]}
    )
    assert [stream.name for stream in plan(config)] == ["*", "* (update_lookup, off)"]
    assert lookup(assignments(config), Namespace("a1", "")) == "*"
    assert lookup(assignments(config), Namespace("b1", "")) == "* (update_lookup, off)"


@pytest.mark.parametrize(
    ("databases", "hashes"),
    [
        ({"shop": {}}, ["4aba7fc33c934aa3"]),
        ({"shop": {"collections": {"a": {}, "b": {"match": {"n": 1}}, "c": {}}}}, ["51bbe075593fd217"]),
        ({"shop": {"collections": {"orders": {}, "log_*": {"operations": ["insert"]}}}}, ["422d31149615bb98"]),
        (
            {"shop": {}, "tenant_*": {"match": {"n": 1}, "collections": {"a": {}, "b*": {}}}},
            ["4aba7fc33c934aa3", "8372400a4e7c8675"],
        ),
    ],
)
def test_stored_positions_stay_as_good_for_the_next_version(databases: dict[str, Any], hashes: list[str]) -> None:
    """A stream continues from its token only while its hash is the same."""
    assert [stream.hash for stream in plans(databases)] == hashes


def test_exact_documents_are_post_images_as_when_available_which_shares_the_stream() -> None:
    """So a config that begins to say `exact` continues where its stream was."""
    [stream] = plans({"shop": {"full_document": "exact", "collections": {"a": {}, "b": {"full_document": None}}}})
    [old] = plans({"shop": {"full_document": "when_available", "collections": {"a": {}, "b": {}}}})
    assert (stream.name, stream.hash, stream.stages()) == (old.name, old.hash, old.stages())
    assert stream.stages()[0] == {"$changeStream": {"fullDocument": "whenAvailable"}}
    both = {"a": {"full_document": "exact"}, "b": {"full_document": "when_available"}}
    assert len(plans({"shop": {"collections": both}})) == 1


@pytest.mark.parametrize(
    ("option", "looks_up"),
    [("update_lookup", True), ("off", False), ("exact", False), ("when_available", False), ("required", False)],
)
def test_only_update_lookup_looks_documents_up_later(option: str, looks_up: bool) -> None:
    [stream] = plans({"shop": {}}, full_document=option)
    assert stream.looks_up is looks_up


def test_selecting_existing_documents_changes_no_stream() -> None:
    """They come from collections, and the stream continues where it was."""
    [before] = plans({"shop": {"operations": ["insert"]}})
    [after] = plans({"shop": {"operations": ["insert", "read"]}})
    assert (after.match, after.hash) == (before.match, before.hash)
