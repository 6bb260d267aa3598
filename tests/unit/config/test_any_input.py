"""Whatever a file holds, the outcome is a config that works or a ConfigError."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mess.config.document import Document
from mess.config.js.file import read_js
from mess.config.load import Loaded, load
from mess.errors import ConfigError

WORDS = [
    *(
        "databases",
        "collections",
        "pipeline",
        "plugins",
        "changeHook",
        "change_hook",
        "mongodb",
        "url",
        "name",
        "config",
    ),
    *(
        "log",
        "http",
        "field-map",
        "fields",
        "endpoint",
        "auth",
        "basic",
        "batch",
        "retry",
        "first",
        "on_failure",
        "match",
    ),
    *(
        "operations",
        "insert",
        "full_document",
        "off",
        "order",
        "concurrency",
        "start",
        "now",
        "state",
        "database",
        "mess",
    ),
    *(
        "retention",
        "max_age",
        "30d",
        "window",
        "max_bytes",
        "64MiB",
        "admin",
        "port",
        "level",
        "fullDocument.a",
        "$and",
    ),
    *(
        "$date",
        "$oid",
        "$regex",
        "${A}",
        "${NONE}",
        "${A:-b}",
        "${file:x}",
        "${",
        "$${",
        "mongodb://h",
        "http://h",
        "path",
    ),
    *(
        "json:dumps",
        "no_such_module:f",
        "sqlite:///x",
        "tenant_*",
        "shutdown_grace",
        "value",
        "default",
        "drop",
        "keep",
    ),
]
SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

words = st.sampled_from(WORDS)
scalars = (
    words
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | scalars, inner, max_size=6),
    max_leaves=30,
)
mappings = st.dictionaries(words, trees, max_size=8)
json_scalars = words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_trees = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=4), inner, max_size=6),
    max_leaves=30,
)
MARKS = [*"{}[]()<>:,;.'\"`\\/#*&!|>-=%@\n\t ", "\n  ", "=>", "...", "/*", "*/", "//", "<<", "? ", "- ", "${"]
CODE = ["function", "async ", "module.exports = ", "require(", "0x", "1e5", "\\u", "\ud800"]
TAGS = ["!!int ", "!!timestamp ", "!!bool ", "1:30", "2024-01-01"]
pieces = st.sampled_from([*WORDS, *MARKS, *CODE, *TAGS])
garbage = st.lists(pieces | st.text(max_size=3), max_size=25).map("".join)


def outcome(text: str, name: str, environ: dict[str, str] | None = None) -> Loaded | ConfigError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load(path, environ=environ or {"A": "1"})
        except ConfigError as error:
            found = error
    assert found.problems
    assert all(problem.message for problem in found.problems)
    return found


@SETTINGS
@given(trees | mappings)
@example({"window": {"max_bytes": "9" * 400}, "shutdown_grace": "9" * 400 + "s", "checkpoint": {"interval": 10**400}})
@example({"databases": {"a": {}}, "start": "0001-01-01T00:00:00+23:59"})
@example({"databases": {"a": {"match": {"$ref": "x", "$id": {}}}}})
def test_any_yaml_tree(tree: Any) -> None:
    outcome(yaml.safe_dump(tree), "c.yml")


@SETTINGS
@given(st.dictionaries(words, json_trees, max_size=8))
def test_any_json_tree(tree: Any) -> None:
    """And JSON gives what Python's own parser gives, with all its escapes."""
    text = json.dumps(tree)
    outcome(text, "c.json")
    document = Document("c.json")
    read_js(text, document)
    assert json.dumps(document.data) == text or not tree


@SETTINGS
@given(garbage)
@example("!!int ''")
@example("!!bool x")
@example("!!timestamp x")
@example("? ? ? x")
@example("9" * 5000)
@example("<<: [1]")
def test_any_text_as_yaml(text: str) -> None:
    outcome(text, "c.yml")
    outcome(f"databases: {{a: }}\npipeline: [log]\nmatch:\n  x: {text}", "c.yml")


@SETTINGS
@given(garbage)
@example("{a: " + "9" * 5000 + "}")
@example("`${" * 2000)
@example("{'\\u{ffffff}': 1}")
def test_any_text_as_javascript(text: str) -> None:
    outcome(text, "c.js")
    outcome(f"module.exports = {{ databases: {{ a: {{}} }}, match: {{ x: {text} }} }}", "c.js")


@SETTINGS
@given(mappings, st.data())
def test_a_variables_value_is_never_shown(tree: dict[str, Any], data: st.DataObject) -> None:
    """Wherever in a config file a variable stands."""
    paths = [*_texts(tree)]
    for holder, key in data.draw(st.lists(st.sampled_from(paths), max_size=3)) if paths else []:
        holder[key] = data.draw(
            st.sampled_from(["${SECRET}", "mongodb://u:${SECRET}@h", "x ${SECRET}", "${SECRET:-x}"])
        )
    found = outcome(yaml.safe_dump(tree), "c.yml", {"SECRET": "hunter2-xyzzy"})
    if isinstance(found, ConfigError):
        assert "xyzzy" not in str(found)


def _texts(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        if isinstance(inner, str):
            yield value, key
        yield from _texts(inner)
