"""Misspelt placeholders are found by `validate`, not by whoever looks for the events later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.conftest import Load, Problems

HEAD = "databases: {a: {operations: [insert]}}\nplugins: {mine: 'own:step'}\npipeline:\n"
READS = "databases: {a: {operations: [insert, read]}}\npipeline:\n"
WRITES = "databases: {a: {operations: [insert, update, replace, delete]}}\npipeline:\n"


@pytest.fixture(autouse=True)
def _own() -> None:
    Path("own.py").write_text("def step(input, config, context): return input\n")


def queue(options: str) -> str:
    return f"  - name: queue\n    config:\n      url: redis://h\n      {options}\n    retry: {{max_age: 1h}}\n"


def field_map(options: str) -> str:
    return f"  - name: field-map\n    config:\n      {options}\n"


def http(endpoint: str) -> str:
    more = "      answers: {refused: [404]}\n    retry: {max_age: 1h}\n"
    return f"  - name: http\n    config:\n      endpoint: '{endpoint}'\n{more}"


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (
            queue("target: '{db}.{colection}'"),
            "config.yml:7: pipeline[0].config.target: {colection}: a change event has no field "
            '"colection" at this step; did you mean "collection"?',
        ),
        (queue("target: '{database}.x'"), 'did you mean "db"?'),
        (queue("target: '{ns.colls}'"), '{ns.colls}: ns has no field "colls" at this step; did you mean "ns.coll"?'),
        (
            queue("target: x\n      key: '{documntKey._id}'"),
            "config.key: {documntKey._id}: a change event has no field",
        ),
        (queue("headers: {a: '{$ids}'}"), 'pipeline[0].config.headers.a: {$ids}: a change event has no field "$ids"'),
        (queue("headers: {a: '{operationType.x}'}"), 'operationType has no field "x" at this step'),
        (http("http://h/{db}/{colection|x}"), 'did you mean "collection"?'),
        (field_map("fields: {t: {template: '{fulDocument.x}'}}"), "fields.t.template: {fulDocument.x}: a change event"),
        (field_map("fields: {t: fulDocument.x}"), 'fields.t: fulDocument.x: a change event has no field "fulDocument"'),
        (field_map("fields: {t: collection}"), 'write {template: "{collection}"} for the event\'s own'),
        (field_map("fields: {t: {path: docKey, default: 1}}"), "fields.t.path: docKey: a change event has no field"),
        (
            field_map("fields: {order.id: documentKey._id, total: fullDocument.total}") + queue("target: '{totl}'"),
            'pipeline[1].config.target: {totl}: the body has no field "totl" at this step; did you mean "total"?',
        ),
        (
            field_map("fields: {order.id: documentKey._id, total: fullDocument.total}") + queue("target: 'x{region}'"),
            '{region}: the body has no field "region" at this step; it has order, total',
        ),
        (
            field_map("fields: {order.id: documentKey._id}") + "  - log\n" + queue("target: '{order.ids}'"),
            '{order.ids}: order has no field "ids" at this step; did you mean "order.id"?',
        ),
        (
            field_map("keep: all\n      drop: [fullDocument]") + queue("key: '{fullDocument.x}'"),
            'has no field "fullDocument" at this step',
        ),
        (
            "  - mine\n" + field_map("fields: {total: total}") + queue("target: '{totl}'"),
            'pipeline[2].config.target: {totl}: the body has no field "totl"',
        ),
    ],
)
def test_a_name_that_no_event_has_is_a_mistake_with_its_place(problems: Problems, steps: str, problem: str) -> None:
    found = problems(HEAD + steps)
    assert len(found) == 1, found
    assert problem in found[0]


def test_it_is_reported_together_with_all_other_mistakes(problems: Problems) -> None:
    found = problems("databases: {a: {}}\nstrat: now\npipeline:\n" + queue("target: '{colection}'"))
    assert len(found) == 2


@pytest.mark.parametrize(
    "steps",
    [
        queue("target: '{db}.{collection}.{operation}.{$id}'"),
        queue("target: '{ns.db}{ns.coll}{operationType}{documentKey.a.b}{fullDocument.any.0.thing}{_id._data}'"),
        queue("headers: {a: '{clusterTime}{wallTime}{txnNumber|}{lsid|}{collectionUUID}{operationDescription|}'}"),
        http("http://h/{newField|none}"),
        field_map("fields: {a: {path: somethingNew, default: 1}}"),
        field_map("fields: {order: fullDocument}") + queue("target: '{order.anything}'"),
        field_map("keep: all\n      fields: {extra.a: {value: 1}}") + queue("target: '{extra.a}{fullDocument.x}'"),
        "  - mine\n" + queue("target: '{whatever}{total}'"),
        "  - mine\n" + field_map("fields: {a: total}\n      keep: all") + queue("target: '{b}'"),
    ],
)
def test_what_an_event_can_have_is_no_mistake(loads: Load, steps: str) -> None:
    assert [str(warning) for warning in loads(HEAD + steps).warnings if "plugins" not in str(warning)] == []


def test_behind_a_function_a_near_miss_warns_only(loads: Load) -> None:
    """What the function makes of the body is not known, and it may have such a field."""
    warnings = [str(warning) for warning in loads(HEAD + "  - mine\n" + queue("target: '{colection}'")).warnings]
    assert warnings == [
        'config.yml:8: pipeline[1].config.target: colection: did you mean "collection"? The fields of the body are '
        "not known at this step"
    ]


def test_fields_to_log_or_drop_that_no_event_has_only_warn(loads: Load) -> None:
    log = "  - name: log\n    config: {fields: [fulDocument.x]}\n"
    warnings = [str(warning) for warning in loads(HEAD + log + field_map("keep: all\n      drop: [nss]")).warnings]
    assert len(warnings) == 3
    assert 'config.fields[0]: fulDocument.x: a change event has no field "fulDocument"' in warnings[1]
    assert 'config.drop[0]: nss: a change event has no field "nss"' in warnings[2]


def test_a_placeholder_that_came_from_a_variable_is_not_shown(problems: Problems) -> None:
    found = problems(HEAD + http("${HOOK}"), environ={"HOOK": "http://h/{my-secret}"})
    assert len(found) == 1
    assert "my-secret" not in found[0]
    assert "refers to a value that no event has at this step" in found[0]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            WRITES + queue("target: 'x.{fullDocument.region}'"),
            "config.yml:6: pipeline[0].config.target: {fullDocument.region} has no value in events of delete, which "
            "the step refuses; leave this out of operations, or give a default, as in {fullDocument.region|none}",
        ),
        (WRITES + queue("headers: {r: '{fullDocument.region}'}"), "of delete, where the text is left empty"),
        (
            WRITES + http("http://h/{updateDescription.updatedFields.a}"),
            "of insert, replace and delete, which",
        ),
        ("full_document: off\n" + WRITES + queue("key: '{fullDocument.a}'"), "in events of update and delete, where"),
        (WRITES + queue("key: '{fullDocumentBeforeChange.a}'"), "of insert, update, replace and delete, where"),
        (
            "full_document_before_change: when_available\n" + WRITES + queue("key: '{fullDocumentBeforeChange.a}'"),
            "in events of insert, where",
        ),
        (READS + queue("key: '{_id._data}'"), "in events of read, where"),
        (
            "databases: {a: }\npipeline:\n" + queue("target: '{documentKey._id}'"),
            "drop, rename and dropDatabase, which",
        ),
        (
            "databases: {a: {operations: [read, delete]}}\npipeline:\n"
            + queue("key: '{documentKey._id} {fullDocument.a}'"),
            "{fullDocument.a} has no value in events of delete, where",
        ),
        (
            "databases: {a: {collections: {b: {operations: [insert]}}}}\npipeline:\n"
            + queue("key: '{documentKey._id}'"),
            "in events of dropDatabase, where",
        ),
        (
            WRITES + field_map("fields: {region: fullDocument.region}") + queue("target: 'x{region}'"),
            "pipeline[1].config.target: {region} has no value in events of delete, which",
        ),
    ],
)
def test_a_value_that_some_operations_never_have_is_warned_of(loads: Load, text: str, warning: str) -> None:
    warnings = [str(problem) for problem in loads(text).warnings]
    assert len(warnings) == 1, warnings
    assert warning in warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        WRITES + queue("target: 'x.{fullDocument.region|eu}'"),
        WRITES + queue("target: 'x.{fullDocument.region|}'"),
        WRITES + queue("target: '{documentKey._id}'"),
        "match: {operationType: {$ne: delete}}\n" + WRITES + queue("target: '{fullDocument.x}'"),
        "match: {operationType: insert}\n" + WRITES + queue("target: '{fullDocument.x}'"),
        "match: {operationType: {$in: [insert, update]}}\n" + WRITES + queue("target: '{fullDocument.x}'"),
        "databases: {a: }\npipeline:\n" + queue("target: '{db}.{collection}'"),
        READS + queue("target: '{documentKey._id}.{fullDocument.region}'"),
        "databases: {a: }\npipeline:\n" + queue("target: '{documentKey._id}'\n      format: debezium"),
    ],
)
def test_no_warning_where_every_operation_in_scope_has_the_value(loads: Load, text: str) -> None:
    assert [str(warning) for warning in loads(text).warnings] == []


def test_a_match_on_the_document_leaves_out_the_operations_without_one(loads: Load) -> None:
    text = "match: {fullDocument.x: 1}\n" + WRITES + queue("target: '{fullDocument.x}'")
    assert not [str(warning) for warning in loads(text).warnings if "target" in str(warning)]


def test_an_endpoint_of_any_length_is_a_mistake_with_its_place_and_takes_no_memory(problems: Problems) -> None:
    """Hundreds of kilobytes, of what a careless search for an unused mark would multiply by the placeholders."""
    [problem] = problems(HEAD + http("http://h/placeholder" + "x" * 200_000 + "{db}" * 50_000))
    assert problem.startswith("config.yml:6: pipeline[0].config.endpoint: longer than 8,000 characters")
