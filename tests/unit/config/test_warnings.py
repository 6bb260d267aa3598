"""What is legal and likely wrong is said with its place, and loads all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.conftest import Load

DEBEZIUM = "{name: http, config: {endpoint: 'http://x/', format: debezium}}"
HTTP = "pipeline: [{name: http, config: {endpoint: 'http://x/'}}]"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "databases: {a: }\npipeline:\n  - name: log\n    config:\n      myvar: myname",
            "config.yml:5: pipeline[0].config.myvar: the log step has no such option; ignored",
        ),
        (
            "databases:\n  a:\n  b: {pipeline: [log]}",
            "config.yml:2: databases.a: has no pipeline, so its changes are only logged; write "
            "pipeline: [log] if intended",
        ),
        (
            "databases:\n  a:\n    match: {fullDocument.x: 1}\npipeline: [log]",
            "config.yml:3: databases.a.match: no delete is ever relayed, since deletes have no "
            "fullDocument; leave delete out of operations to make this explicit",
        ),
        (
            "databases: {a: }\nbackfill: initial\noperations: [insert]\npipeline: [log]",
            "config.yml:3: operations: existing documents are left out, so that backfill: initial sends none; add read",
        ),
        (
            "databases:\n  a:\n    operations: [insert]\non_history_lost: backfill\npipeline: [log]",
            "config.yml:3: databases.a.operations: existing documents are left out, so that on_history_lost: backfill "
            "sends none; add read",
        ),
        (
            "databases: {a: }\nmatch: {$and: [{fullDocument.x: 1}]}\npipeline: [log]",
            "config.yml:2: match: no delete is ever relayed",
        ),
        (
            "databases: {a: {operations: [update], full_document: off}}\nmatch: {fullDocument.x: 1}\npipeline: [log]",
            "config.yml:2: match: no update is ever relayed, since updates have no fullDocument "
            "with full_document: off; set "
            "update_lookup",
        ),
        (
            f"databases: {{a: {{order: {{by: fullDocument.b}}, full_document: 'off'}}}}\n{HTTP}",
            "config.yml:1: databases.a.order.by: events of update have no fullDocument.b, so that each of them waits "
            "for all earlier events of its stream, and later ones for it; name a field that they have",
        ),
        (
            f"databases: {{a: {{order: {{by: fullDocument.card.number}}, exclude: [card]}}}}\n{HTTP}",
            "config.yml:1: databases.a.order.by: exclude removes fullDocument.card.number, so that each event waits "
            "for all earlier ones; name a field that is left",
        ),
        (
            "databases: {a: }\norder: {by: fullDocument.b}\npipeline:\n"
            "- {name: queue, config: {url: 'kafka://h', target: x}}",
            "config.yml:4: pipeline[0].config: Kafka keeps order within a partition only, and spreads the events of "
            "one fullDocument.b over many; set key: '{fullDocument.b|none}'",
        ),
        (
            "databases: {a: }\npipeline: [log]\nexclude:\n  - card.number\n  - x\n  - card",
            "config.yml:4: exclude[0]: exclude[2] excludes this field already; leave it out",
        ),
        (
            "databases: {a: {exclude: [x, x]}}\npipeline: [log]",
            "config.yml:1: databases.a.exclude[1]: exclude[0] excludes this field already; leave it out",
        ),
        (
            "databases: {a: }\npipeline: [log]\nexclude: [fullDocument.password]",
            "config.yml:3: exclude[0]: paths are those of fields in a document, not in a change event: write password, "
            "not fullDocument.password",
        ),
        (
            "databases: {a: }\npipeline: [log]\nexclude: [cards.*.number]",
            "config.yml:3: exclude[0]: paths have no wildcards: this is a field whose name is an asterisk",
        ),
        (
            f"databases: {{a: }}\n{HTTP}\norder: collection",
            "config.yml:3: order: one event that cannot be delivered holds up all later ones of its collection, since "
            "deliveries are retried without end; with order: document, other documents are not held up",
        ),
        (
            f"databases:\n  a:\n    concurrency: 1\n{HTTP}",
            "config.yml:3: databases.a.concurrency: one event that cannot be delivered holds up "
            "all later ones of its pipeline",
        ),
        (
            "databases:\n  a:\n    changeHook: hooks:hook\n    pipeline: [log]\n",
            "config.yml:4: databases.a.pipeline: never runs: the changeHook here takes its place",
        ),
        (
            "databases:\n  a:\n    pipeline: [log]\nchangeHook: hooks:hook",
            "config.yml:3: databases.a.pipeline: never runs: the changeHook further out takes its place",
        ),
        (
            f"databases: {{a: }}\npipeline:\n- {{name: field-map, config: {{fields: {{a: ns}}}}}}\n- {DEBEZIUM}",
            "config.yml:4: pipeline[1].config.format: every event is refused, since the field-map step before it",
        ),
        (
            "databases: {a: }\npipeline: [log]\nplugins: {p: 'hooks:step'}",
            "config.yml:3: plugins.p: is not used in any pipeline",
        ),
        (
            "databases: {a: }\npipeline: [log]\nplugins: {log: 'hooks:step'}",
            "config.yml:3: plugins.log: replaces MESS's own log step",
        ),
    ],
)
def test_warning_has_line_path_and_reason(loads: Load, text: str, warning: str) -> None:
    Path("hooks.py").write_text("def hook(item, context): ...\ndef step(input, config, context): ...\n")
    warnings = [str(problem) for problem in loads(text).warnings]
    assert len(warnings) == 1
    assert warnings[0].startswith(warning)


@pytest.mark.parametrize(
    "text",
    [
        "databases: {a: {match: {fullDocument.x: 1}, operations: [insert, update]}}\npipeline: [log]",
        "databases: {a: {match: {fullDocumentBeforeChange.x: 1}}}\npipeline: [log]",
        "databases: {a: {match: {fullDocument.x: {$exists: false}}}}\npipeline: [log]",
        "databases: {a: {match: {fullDocument.x: null}}}\npipeline: [log]",
        "databases: {a: {match: {fullDocument.x: {$ne: 1}}}}\npipeline: [log]",
        "databases: {a: {match: {operationType: {$in: [insert]}, fullDocument.x: 1}}}\npipeline: [log]",
        "databases: {a: {match: {$or: [{operationType: delete}, {fullDocument.x: 1}]}}}\npipeline: [log]",
        "databases: {a: {order: collection, concurrency: 1}}\npipeline: [log, {name: field-map, config: {keep: all}}]",
        f"databases: {{a: }}\norder: {{by: fullDocument.b}}\n{HTTP}",
        "databases: {a: }\norder: {by: documentKey._id}\n"
        "pipeline: [{name: queue, config: {url: 'kafka://h', target: x, key: '{documentKey._id|none}'}}]",
        f"databases: {{a: {{order: none}}}}\n{HTTP}",
        "databases: {a: {collections: {b: {pipeline: [log]}}}}",
        f"databases: {{a: }}\npipeline: [{DEBEZIUM}, {{name: field-map, config: {{fields: {{a: ns}}}}}}]",
        f"databases: {{a: }}\npipeline: [{{name: field-map, config: {{keep: all, drop: [ns]}}}}, {DEBEZIUM}]",
    ],
)
def test_what_is_well_is_not_warned_of(loads: Load, text: str) -> None:
    assert loads(text).warnings == ()


def _chosen(value: str, *, step: str = "http", config: str = "", retry: str = "") -> str:
    """A config whose destinations are made of a value."""
    option = f"endpoint: 'http://x/{value}'" if step == "http" else f"url: redis://h, target: 'x{value}'"
    entry = f"{{name: {step}, config: {{{option}, {config}}}, retry: {{{retry}}}}}"
    return f"databases: {{a: {{operations: [insert]}}}}\npipeline:\n  - {entry}"


REFUSED = "answers: {refused: [404]}"


@pytest.mark.parametrize(
    ("text", "remedies"),
    [
        (_chosen("{fullDocument.c}"), "list 404 under answers.refused and set retry.max_age"),
        (_chosen("?a={documentKey._id|none}&b={fullDocument.c}"), "list 404 under answers.refused and set retry"),
        (_chosen("{fullDocument.c}", config=REFUSED), "set retry.max_age"),
        (_chosen("{fullDocument.c}", retry="max_age: 1h"), "list 404 under answers.refused"),
        (_chosen("{fullDocument.c}", step="queue"), "set retry.max_age"),
        (
            _chosen("{c}").replace("  - ", "  - {name: field-map, config: {fields: {c: fullDocument.c}}}\n  - "),
            "list 404",
        ),
    ],
)
def test_destinations_that_documents_choose_and_that_are_tried_without_end_are_warned_of(
    loads: Load, text: str, remedies: str
) -> None:
    """Whoever writes to the collection could fill the window with events that no destination takes."""
    [warning] = loads(text).warnings
    assert f"; {remedies}" in str(warning)
    assert ("config.target: documents choose the target" in str(warning)) == ("queue" in text)
    assert ("config.endpoint: documents choose the endpoint" in str(warning)) == ("http" in text)


@pytest.mark.parametrize(
    "text",
    [
        _chosen("{db}/{collection}/{operation}?id={$id}&o={operationType}&n={ns.db}"),
        _chosen("{fullDocument.c}", config=REFUSED, retry="max_age: 1h"),
        _chosen("{fullDocument.c}", config="answers: {refused: [4xx]}", retry="max_age: 1h"),
        _chosen("{fullDocument.c}", step="queue", retry="max_age: 1h"),
        _chosen("{db}", step="queue", config="key: '{documentKey._id}'"),
    ],
)
def test_destinations_that_are_controlled_or_bounded_are_not_warned_of(loads: Load, text: str) -> None:
    assert loads(text).warnings == ()


def test_what_has_no_pipeline_is_logged(loads: Load) -> None:
    config = loads("databases: {a: }").config
    assert [step.name for step in config.pipeline or ()] == ["log"]


def test_a_likely_misspelling_is_a_mistake_even_where_unknown_options_are_passed_over(loads: Load) -> None:
    with pytest.raises(Exception, match='fieldz: unknown key; did you mean "fields"'):
        loads("databases: {a: }\npipeline: [{name: log, config: {fieldz: []}}]")


def test_one_place_is_warned_of_once(loads: Load) -> None:
    text = "databases: {a: , b: , c: {collections: {d: , e: }}}\nmatch: {fullDocument.x: 1}\npipeline: [log]"
    assert len(loads(text).warnings) == 1


def test_a_plugin_takes_the_place_of_the_step_that_comes_with_mess(loads: Load) -> None:
    Path("hooks.py").write_text("def step(input, config, context): ...\n")
    loaded = loads("databases: {a: }\npipeline: [{name: http, config: {any: thing}}]\nplugins: {http: 'hooks:step'}")
    assert [step.config for step in loaded.config.pipeline or ()] == [{"any": "thing"}]


def test_options_that_are_passed_over_stay_in_what_functions_get(loads: Load) -> None:
    loaded = loads("databases: {a: }\npipeline: [{name: log, config: {myvar: 1}}]")
    assert [step.config for step in loaded.config.pipeline or ()] == [{}]
    assert loaded.tree["pipeline"] == [{"name": "log", "config": {"myvar": 1}}]
