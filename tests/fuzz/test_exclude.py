"""MongoDB removes exactly the excluded fields from events, whatever documents and updates look like."""

from __future__ import annotations

from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import WriteError

from mess.capture.exclude import without as stages_without
from mess.cases.drop import Drops
from tests.excluded import without
from tests.fuzz.profiles import examples
from tests.fuzz.strategies import LENIENT, scalars

RAW = LENIENT.with_options(document_class=RawBSONDocument)
# Few names, so that paths and documents often share them; some that a path may be mistaken for.
_names = st.sampled_from(["a", "b", "c", "0", "10", ""])
_odd_names = st.sampled_from(["a.b", "b.c", ".", "a.", "$a", "A", "1a", "v", "k", "in0", "whole", "this", "a\n", "é"])
_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names | _odd_names, inner, max_size=4),
    max_leaves=12,
)
_documents = st.dictionaries(_names | _odd_names, _values, max_size=4)
_keys = st.lists(_names | _odd_names, min_size=1, max_size=4).map(".".join)
_paths = st.lists(
    st.builds(
        lambda first, later: ".".join([first, *later]),
        st.sampled_from("abc0"),
        st.lists(st.sampled_from("abc"), max_size=2),
    ),
    min_size=1,
    max_size=4,
)
_updates = st.fixed_dictionaries(
    {"updatedFields": st.dictionaries(_keys, _values, max_size=4), "removedFields": st.lists(_keys, max_size=3)},
    optional={
        "truncatedArrays": st.lists(st.fixed_dictionaries({"field": _keys, "newSize": st.integers(0, 9)}), max_size=3),
        "disambiguatedPaths": st.dictionaries(_keys, st.lists(_names, max_size=2), max_size=3),
    },
)
_events = st.fixed_dictionaries(
    {"operationType": st.just("update"), "documentKey": st.fixed_dictionaries({"_id": st.just(1), "a": scalars})},
    optional={
        "fullDocument": _documents | st.none(),
        "fullDocumentBeforeChange": _documents | st.none(),
        "updateDescription": _updates,
    },
)


@given(events=st.lists(_events, min_size=1, max_size=10), paths=_paths)
@examples(60)
def test_only_what_is_excluded_is_missing(
    events: list[dict[str, Any]], paths: list[str], mongo: MongoClient[dict[str, Any]], database: str
) -> None:
    """Everything else has the same bytes, in the same place."""
    events = [{"_id": number, **event} for number, event in enumerate(events)]
    collection = mongo[database].get_collection("events")
    collection.delete_many({})
    collection.insert_many(events)
    pipeline = [{"$sort": {"_id": 1}}, *stages_without(paths)]
    raw: Any = collection.with_options(codec_options=RAW)
    got = [document.raw for document in raw.aggregate(pipeline)]
    stored = [bson.decode(document.raw, LENIENT) for document in raw.find().sort("_id")]
    assert got == [bson.encode(without(event, paths)) for event in stored]


_fields = st.lists(_names, min_size=1, max_size=4).map(".".join)
_writes = st.one_of(
    st.builds(lambda field, value: {"$set": {field: value}}, _fields, _values),
    st.builds(lambda fields: {"$set": fields}, st.dictionaries(_fields, _values, min_size=1, max_size=3)),
    st.builds(lambda fields: {"$unset": dict.fromkeys(fields, 1)}, st.lists(_fields, min_size=1, max_size=3)),
    st.builds(lambda field, value: {"$push": {field: value}}, _fields, _values),
    st.builds(lambda field: [{"$set": {field: {"$slice": [f"${field}", 1]}}}], st.sampled_from(["a", "b", "a.b"])),
    st.builds(
        lambda field, value: [
            {"$replaceWith": {"$setField": {"field": {"$literal": field}, "input": "$$ROOT", "value": value}}}
        ],
        st.sampled_from(["a.b", "a.0", "$a"]),
        st.builds(lambda value: {"$literal": value}, _values),
    ),
    _documents,
)


@given(document=_documents, writes=st.lists(_writes, min_size=1, max_size=8), paths=_paths, expanded=st.booleans())
@examples(20)
def test_a_change_stream_has_every_event_without_what_is_excluded(
    document: dict[str, Any],
    writes: list[Any],
    paths: list[str],
    expanded: bool,
    mongo: MongoClient[dict[str, Any]],
    database: str,
) -> None:
    """As compared to a stream that excludes nothing."""
    db = mongo[database]
    db.drop_collection("orders")
    db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    orders: Any = db.get_collection("orders", codec_options=LENIENT)
    options = {"full_document": "whenAvailable", "full_document_before_change": "whenAvailable"}
    with (
        orders.watch([], show_expanded_events=expanded, **options) as whole,
        orders.watch(stages_without(paths), show_expanded_events=expanded, **options) as cleaned,
    ):
        orders.insert_one({"_id": 1, **document})
        for write in writes:
            try:
                _write(orders, write)
            except WriteError:  # it does not fit the document
                continue
        orders.delete_one({"_id": 1})
        for event in whole:
            assert bson.encode(next(cleaned)) == bson.encode(without(event, paths))
            if event["operationType"] == "delete":
                return


def _write(orders: Any, write: Any) -> None:
    if isinstance(write, list) or next(iter(write), "") in ("$set", "$unset", "$push"):
        orders.update_one({"_id": 1}, write)
    else:
        orders.replace_one({"_id": 1}, {"_id": 1, **write})


@given(event=_events, paths=_paths)
@examples(200)
def test_a_recorded_case_lacks_at_least_what_mongodb_would_remove(event: dict[str, Any], paths: list[str]) -> None:
    """`mess record --drop`, which also removes it from the documentKey, and leaves all else."""
    named = [path for path in paths if not any(name.isdecimal() for name in path.split("."))]
    found = Drops(f"fullDocument.{path}" for path in named).apply(event)
    assert without(found, named) == found
    assert not {"a"} & found["documentKey"].keys() & set(named)
    assert Drops(["fullDocument.no_such_field"]).apply(event) == event
