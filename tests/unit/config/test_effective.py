"""The effective config: every value with where it was said, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mess.config.effective import EffectiveValue, applying, effective
from mess.config.load import load
from tests.unit.config.conftest import Load
from tests.unit.config.test_examples import EXAMPLES

CONFIG = """\
name: shopper
databases:
  plain: {}
  shop:
    operations: [insert, update]
    collections:
      orders:
        match: {fullDocument.total: {$gte: 100}}
        pipeline:
          - log
          - name: http
            config:
              endpoint: https://example.com/x
              timeout: "${TIMEOUT:-5s}"
            retry:
              cap: 1s
      "a*": {}
pipeline: [log]
"""


def _by_path(values: list[EffectiveValue]) -> dict[str, EffectiveValue]:
    found = {value.path: value for value in values}
    assert len(found) == len(values)
    return found


def _said(value: EffectiveValue) -> tuple[object, str]:
    return value.value, value.origin


def test_every_value_has_its_line_in_the_file(loads: Load) -> None:
    found = _by_path(effective(loads(CONFIG)))
    step = "databases.shop.collections.orders.pipeline[1]"
    assert _said(found["name"]) == ("shopper", "config.yml:1")
    assert _said(found["databases.plain"]) == ({}, "config.yml:3")
    assert _said(found["databases.shop.operations"]) == (["insert", "update"], "config.yml:5")
    match = 'databases.shop.collections.orders.match["fullDocument.total"].$gte'
    assert _said(found[match]) == (100, "config.yml:8")
    assert _said(found["databases.shop.collections.orders.pipeline[0].name"]) == ("log", "config.yml:10")
    assert _said(found[f"{step}.config.endpoint"]) == ("https://example.com/x", "config.yml:13")
    assert _said(found[f"{step}.config.timeout"]) == ("5s", "config.yml:14, ${TIMEOUT}")
    assert _said(found[f"{step}.retry.cap"]) == ("1s", "config.yml:16")


def test_what_is_not_said_is_there_with_its_default(loads: Load) -> None:
    found = _by_path(effective(loads(CONFIG)))
    step = "databases.shop.collections.orders.pipeline[1]"
    assert _said(found[f"{step}.retry.first"]) == ("200ms", "default")
    assert _said(found[f"{step}.config.method"]) == ("POST", "default")
    assert _said(found["window.max_bytes"]) == ("12MiB", "default")
    assert _said(found["full_document"]) == ("update_lookup", "default")
    assert "databases.shop.full_document" not in found  # inherited


def test_the_pipeline_that_is_made_where_there_is_none_is_a_default(loads: Load) -> None:
    assert _said(_by_path(effective(loads("databases: {shop: {}}")))["pipeline[0].name"]) == ("log", "default")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{\n"name": "shopper",\n"databases": {\n"shop": {}},\n"pipeline": [\n"log"]}'),
        ("config.js", "module.exports = {\nname: 'shopper',\ndatabases: {\nshop: {} },\npipeline: [\n'log'],\n}"),
    ],
)
def test_json_and_js_files_know_their_lines(loads: Load, name: str, text: str) -> None:
    found = _by_path(effective(loads(text, name)))
    assert _said(found["name"]) == ("shopper", f"{name}:2")
    assert _said(found["databases.shop"]) == ({}, f"{name}:4")
    assert _said(found["pipeline[0].name"]) == ("log", f"{name}:6")


def _written(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all single values, and of all lists of them. A step that is only a name is shown as one with it."""
    if path[-1:] == ("pipeline",):
        tree = [{"name": step} if isinstance(step, str) else step for step in tree]
    if isinstance(tree, dict) and tree:
        for key, inner in tree.items():
            yield from _written(inner, (*path, key))
    elif isinstance(tree, list) and any(isinstance(inner, (dict, list)) for inner in tree):
        for index, inner in enumerate(tree):
            yield from _written(inner, (*path, index))
    else:
        yield path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_nothing_that_is_written_is_missing_and_nothing_else_is_said_to_be(path: Path) -> None:
    loaded = load(path, environ={})
    found = {value.keys for value in effective(loaded) if value.source == "file"}
    ignored = {tuple(re.split(r"[.\[\]]+", warning.path)) for warning in loaded.warnings}
    written = {keys for keys in _written(loaded.tree) if tuple(map(str, keys)) not in ignored}
    assert found == written


def test_off_is_no_false(loads: Load) -> None:
    found = _by_path(effective(loads("databases: {shop: {}}\npipeline: [log]\nfull_document: off\n")))
    assert _said(found["full_document"]) == ("off", "config.yml:3")


def test_the_environment_and_the_command_line_are_named(loads: Load) -> None:
    loaded = loads(
        CONFIG, environ={"PORT": "4000", "MONGO_URL": "mongodb://u:hidden-word@db/"}, overrides={"log.level": "debug"}
    )
    found = _by_path(effective(loaded))
    assert _said(found["admin.port"]) == (4000, "environment variable PORT")
    assert _said(found["mongodb.url"]) == ("mongodb://***@db/", "environment variable MONGO_URL")
    assert _said(found["log.level"]) == ("debug", "command line")
    assert found["admin.port"].file is None


def test_no_secret_is_shown_however_short(loads: Load) -> None:
    Path("token").write_text("f1le\n")
    Path("plugin.py").write_text("def enrich(input, config, context): return input\n")
    pipeline = [
        {
            "name": "http",
            "config": {
                "endpoint": "https://me:pw1@example.com/hooks/T0123456789",
                "headers": {"Authorization": "Bearer abc", "X-From": "a ${TEAM} b", "Accept": "text/x"},
                "sign": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
            },
        },
        {
            "name": "enrich",
            "config": {"token": "${file:token}", "api": {"password": "lit"}, "from": "${TEAM}", "n": 3, "pin_key": 77},
        },
    ]
    text = json.dumps(
        {
            "databases": {"shop": {}},
            "pipeline": pipeline,
            "plugins": {"enrich": "plugin:enrich"},
            "mongodb": {"url": "mongodb://root:p@localhost:27017/?replicaSet=rs0"},
        }
    )
    values = effective(loads(text, "config.json", environ={"TEAM": "bl"}))
    whole = json.dumps([value.model_dump() for value in values])
    for secret in ("pw1", "T0123456789", "abc", "MfKQ9r8G", "f1le", '"lit"', "bl b", '"bl"', "77", ":p@"):
        assert secret not in whole
    found = _by_path(values)
    assert found["pipeline[1].config.n"].value == 3
    assert found["pipeline[1].config.token"].variables == ("file:token",)
    assert found["pipeline[0].config.headers.Accept"].value == "text/x"
    assert found["pipeline[0].config.endpoint"].value == "https://***@example.com***"


def test_what_applies_to_a_collection_comes_from_the_most_specific_scope(loads: Load) -> None:
    found = {value.keys: value for value in applying(loads(CONFIG), "shop", "orders") or ()}
    assert _said(found["operations",]) == (["insert", "update"], "config.yml:5")
    assert _said(found["match", "fullDocument.total", "$gte"]) == (100, "config.yml:8")
    assert _said(found["pipeline", 1, "config", "timeout"]) == ("5s", "config.yml:14, ${TIMEOUT}")
    assert found["pipeline", 1, "name"].path == "databases.shop.collections.orders.pipeline[1].name"
    assert _said(found["order",]) == ("document", "default")


def test_an_inherited_pipeline_shows_where_it_was_said(loads: Load) -> None:
    loaded = loads(CONFIG)
    for namespace in (("shop", "archive"), ("plain", "anything"), ("plain", "")):
        found = {value.keys: value for value in applying(loaded, *namespace) or ()}
        assert _said(found["pipeline", 0, "name"]) == ("log", "config.yml:18"), namespace


def test_a_hook_replaces_the_pipeline(loads: Load) -> None:
    Path("hooks.py").write_text("def hook(item, context): pass\n")
    loaded = loads("databases: {shop: {pipeline: [log]}}\nchangeHook: hooks:hook\n")
    found = {value.keys: value for value in applying(loaded, "shop", "orders") or ()}
    assert _said(found["changeHook",]) == ("hooks:hook", "config.yml:2")
    assert ("pipeline", 0, "name") not in found


def test_nothing_applies_to_what_the_config_does_not_select(loads: Load) -> None:
    loaded = loads(CONFIG)
    assert applying(loaded, "other", "orders") is None
    assert applying(loaded, "shop", "carts") is None
