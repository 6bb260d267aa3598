"""`operations` may name any type of event; what is nearly one that MESS knows is a misspelling."""

from __future__ import annotations

import pytest

from mess.config.scope import pipelines
from tests.unit.config.conftest import Load, Problems


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ("inserts", 'config.yml:2: operations[0]: is not an operation; did you mean "insert"?'),
        ("dropdatabase", 'did you mean "dropDatabase"?'),
        ("createIndex", 'did you mean "createIndexes"?'),
        ("invalidate", "invalidate concerns the change stream, not data, and is never delivered"),
        ("'two words'", "is not an operation; write one such as insert, update"),
        ("5", "operations[0]: must be text"),
    ],
)
def test_a_misspelt_operation_is_a_mistake(problems: Problems, operation: str, problem: str) -> None:
    found = problems(f"databases: {{a: }}\noperations: [{operation}]\npipeline: [log]")
    assert len(found) == 1
    assert problem in found[0]


def test_every_operation_of_mongodb_can_be_named_and_one_that_mess_does_not_know_is_a_warning(loads: Load) -> None:
    known = loads(
        "databases: {a: {operations: [read, insert, create, modify, shardCollection, dropDatabase]}}\npipeline: [log]"
    )
    assert known.warnings == ()
    assert loads("databases: {a: {operations: [read, insert]}}\npipeline: [log]").warnings == ()
    loaded = loads("databases: {a: {operations: [insert, somethingNew]}}\npipeline: [log]")
    assert [str(warning) for warning in loaded.warnings] == [
        "config.yml:1: databases.a.operations[1]: somethingNew is not an operation that MESS knows; it is relayed if "
        "your MongoDB sends it"
    ]


OWN = "databases: {shop: {collections: {a: {pipeline: [log]}, b: {pipeline: [log]}}}}\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (OWN, ["shop.a", "shop.b"]),
        (OWN + "pipeline: [log]", ["top level", "shop.a", "shop.b"]),
        (OWN + "pipeline: [log]\noperations: [insert]", ["shop.a", "shop.b"]),
        (OWN + "pipeline: [log]\noperations: [insert, create, drop]", ["shop.a", "shop.b"]),
        (OWN + "pipeline: [log]\noperations: [read]", ["shop.a", "shop.b"]),
        (OWN + "pipeline: [log]\noperations: [insert, dropDatabase]", ["top level", "shop.a", "shop.b"]),
        (OWN + "pipeline: [log]\noperations: [insert, somethingNew]", ["top level", "shop.a", "shop.b"]),
        ("databases: {shop: {pipeline: [log], collections: {a: {pipeline: [log]}}}}", ["shop", "shop.a"]),
        ("databases: {shop: {collections: {a: {}}}}", ["top level"]),
        ("databases: {shop: {collections: {a: {pipeline: [log]}}}, crm: {}}", ["top level", "shop.a"]),
        ("databases: {shop: {pipeline: [log]}}\n", ["shop"]),
    ],
)
def test_a_pipeline_exists_where_some_event_can_take_it(loads: Load, text: str, names: list[str]) -> None:
    """Otherwise the relay would announce a pipeline that nobody wrote and nothing takes."""
    assert [spec.name for spec in pipelines(loads(text).config)] == names
