"""What a config file may look like, and what comes out of it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, Regex, json_util

from mess.config.load import load
from mess.config.scope import resolve
from mess.errors import ConfigError
from tests.unit.config.conftest import Load


def test_steps_may_be_names_or_objects(loads: Load) -> None:
    config = loads("databases: {a: }\npipeline: [log, {name: log}, {name: log, config: }]").config
    assert [(step.name, step.config) for step in config.pipeline or ()] == [("log", {})] * 3


def test_a_key_without_a_value_is_an_empty_mapping(loads: Load) -> None:
    config = loads(
        "databases: {a: , b: {collections: }, c: {collections: {d: }}}\nadmin:\nplugins:\npipeline: [log]"
    ).config
    assert list(config.databases) == ["a", "b", "c"]
    assert list(config.databases["c"].collections) == ["d"]
    assert config.admin.port == 3000


@pytest.mark.parametrize("key", ["changeHook", "change_hook"])
def test_the_hook_has_two_spellings(loads: Load, key: str) -> None:
    Path("hooks.py").write_text("def hook(item, context): ...\n")
    loaded = loads(f"databases: {{a: {{{key}: 'hooks:hook'}}}}")
    assert loaded.config.databases["a"].change_hook == "hooks:hook"
    assert list(loaded.functions) == ["hooks:hook"]


def test_names_are_taken_as_they_are_written(loads: Load) -> None:
    config = loads("databases: {on: , 123: , null: , 1_0: }\npipeline: [log]").config
    assert list(config.databases) == ["on", "123", "null", "1_0"]


def test_yaml_reads_off_as_false_and_it_is_taken_for_off(loads: Load) -> None:
    config = loads("databases: {a: {full_document: off, full_document_before_change: off}}\npipeline: [log]").config
    assert config.databases["a"].full_document == "off"
    assert config.databases["a"].full_document_before_change == "off"


def test_anchors_and_merge_keys_work(loads: Load) -> None:
    config = loads(
        "databases:\n  a: &a {order: none, concurrency: 4}\n  b: {<<: *a, concurrency: 5}\n  c: *a\npipeline: [log]"
    ).config
    options = [resolve(config, db) for db in "abc"]
    assert [(o.order, o.concurrency) for o in options if o] == [("none", 4), ("none", 5), ("none", 4)]


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("now", "now"),
        ("oldest", "oldest"),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        ("'2026-01-31T12:00:00'", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        ("'2026-01-31T14:00:00+02:00'", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=timezone.utc)),
    ],
)
def test_a_start_without_a_time_zone_is_in_utc(loads: Load, written: str, start: Any) -> None:
    assert loads(f"databases: {{a: }}\npipeline: [log]\nstart: {written}").config.start == start


@pytest.mark.parametrize(
    ("match", "query"),
    [
        ("{x: {$gte: 2026-01-31}}", {"x": {"$gte": datetime(2026, 1, 31, tzinfo=timezone.utc)}}),
        ('{x: {$date: "2026-01-31T00:00:00Z"}}', {"x": datetime(2026, 1, 31, tzinfo=timezone.utc)}),
        ('{x: {$oid: "0123456789abcdef01234567"}}', {"x": ObjectId("0123456789abcdef01234567")}),
        ("{$or: [{x: {$numberLong: '5'}}, {y: null}]}", {"$or": [{"x": 5}, {"y": None}]}),
        ("{x: {$regex: ^a, $options: i}}", {"x": Regex("^a", "i")}),
        ("{x: {$regex: ^a, $options: i, $ne: ab}}", {"x": {"$regex": Regex("^a", "i"), "$ne": "ab"}}),
    ],
)
def test_a_match_reads_back_as_the_query_that_was_meant(loads: Load, match: str, query: Any) -> None:
    config = loads(f"databases: {{a: {{match: {match}, operations: [insert]}}}}\npipeline: [log]").config
    text = json_util.dumps(config.databases["a"].match)
    assert json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True)) == query


def test_functions_get_the_config_as_it_was_written_with_variables_expanded(loads: Load) -> None:
    tree = loads("databases: {a: }\npipeline: [log]\nname: ${NAME}", environ={"NAME": "n"}).tree
    assert tree == {"databases": {"a": None}, "pipeline": ["log"], "name": "n"}


def test_without_a_path_the_default_file_is_read_and_then_those_beside_it(loads: Load) -> None:
    Path("config").mkdir()
    for name in ("js", "json", "yaml", "yml"):
        Path(f"config/config.{name}").write_text(
            '{"databases": {"a": {}}, "pipeline": ["log"], "name": "' + name + '"}'
        )
        loaded = load(environ={})
        assert (loaded.config.name, str(loaded.path)) == (name, f"config/config.{name}")
        assert loaded.directory == Path("config").resolve()


def test_the_environment_may_name_the_file(loads: Load) -> None:
    loads("databases: {a: }\npipeline: [log]", name="other.yml")
    assert load(environ={"MESS_CONFIG": "other.yml"}).path == Path("other.yml")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            None,
            "there is no config/config.yml, nor config.yaml, config.json, config.js beside it; run `mess init` to "
            "create one",
        ),
        ("none.yml", "none.yml: there is no such file; run `mess init` to create one"),
        (".", ".: is a folder; give the path of the config file in it"),
        ("x\0y", "cannot be read"),
    ],
)
def test_no_file_is_one_problem_that_says_how_to_get_one(path: str | None, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert problem in str(caught.value)


def test_a_file_that_may_not_be_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ConfigError, match=r"^x\.yml: cannot be read: Permission denied$"):
        load("x.yml", environ={})
