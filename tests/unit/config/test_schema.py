"""The JSON Schema says what the loader does, as far as a schema can."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mess import steps
from mess.config.schema import json_schema

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether a value fits a schema; knows the keywords that the config's schema is made of, and fails on others."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    checks: dict[str, Callable[[Any], bool]] = {
        "type": lambda wanted: isinstance(value, bool) if wanted == "boolean" else _is(value, wanted),
        "enum": lambda wanted: value in wanted,
        "const": lambda wanted: value == wanted,
        "pattern": lambda wanted: not isinstance(value, str) or re.search(wanted, value) is not None,
        "minLength": lambda wanted: not isinstance(value, str) or len(value) >= wanted,
        "minItems": lambda wanted: not isinstance(value, list) or len(value) >= wanted,
        "minimum": lambda wanted: not _is(value, "number") or value >= wanted,
        "maximum": lambda wanted: not _is(value, "number") or value <= wanted,
        "required": lambda wanted: not isinstance(value, dict) or value.keys() >= set(wanted),
        "properties": lambda wanted: all(
            fits(value[key], inner) for key, inner in wanted.items() if isinstance(value, dict) and key in value
        ),
        "additionalProperties": lambda wanted: all(
            fits(inner, wanted)
            for key, inner in (value.items() if isinstance(value, dict) else ())
            if key not in schema.get("properties", {})
        ),
        "items": lambda wanted: not isinstance(value, list) or all(fits(item, wanted) for item in value),
        "anyOf": lambda wanted: any(fits(value, one) for one in wanted),
        "allOf": lambda wanted: all(fits(value, one) for one in wanted),
        "if": lambda wanted: not fits(value, wanted) or fits(value, schema["then"]),
    }
    silent = {"$schema", "$defs", "title", "description", "default", "then", "format", "writeOnly"}
    assert schema.keys() <= checks.keys() | silent
    return all(check(schema[key]) for key, check in checks.items() if key in schema)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))


BASE = "databases: {a: }\n"


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        "databases: {shop: {collections: {orders: {match: {x: {$gte: 1}}, full_document: required, changeHook: a:b}}}}",
        BASE + "databases: {a: {collections: , change_hook: a:b}}\nadmin:\nmongodb:\n",
        BASE + "pipeline: [log, enrich, {name: enrich, config: {any: thing}}, {name: log, config: {myvar: 1}}]",
        BASE + "pipeline: [{name: http, config: {endpoint: '${URL}', verify: '${V}', batch: {max_bytes: 1MiB}}}]",
        BASE + "pipeline: [{name: field-map, config: {fields: {a: b, c: {path: d, default: 0}}}}]",
        BASE + "pipeline: [{name: field-map, config: {fields: {a: {template: 'x {y}'}}}}]",
        BASE + "pipeline: [{name: log, config: , retry: {first: 1s}, on_failure: skip}]",
        BASE
        + "admin: {port: '${PORT}', enabled: '${ON:-true}'}\nconcurrency: ${N}\nshutdown_grace: 7\norder: ${ORDER}",
        BASE + "order: {by: fullDocument.a}",
        BASE
        + "state: {url: 'sqlite:///x', retention: {max_age: , max_count: 5}}\nwindow: {max_bytes: 64MiB}\nstart: now",
    ],
)
def test_what_loads_fits(text: str) -> None:
    assert fits(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        BASE + "databses: {}",
        BASE + "pipeline: log",
        BASE + "pipeline: [null]",
        BASE + "pipeline: [{name: http}]",
        BASE + "pipeline: [{name: http, config: {endpiont: x, endpoint: http://x}}]",
        BASE + "pipeline: [{name: http, config: {endpoint: http://x, timeout: long}}]",
        BASE + "pipeline: [{config: {}}]",
        BASE + "pipeline: [{name: log, on_failure: never}]",
        BASE + "admin: {port: 70000}",
        BASE + "admin: {port: x}",
        BASE + "order: any",
        BASE + "order: {by: fullDocument.a, other: x}",
        BASE + "order: {}",
        BASE + "concurrency: 0",
        "databases: [a]",
        "databases: {a: {collections: {b: {nope: 1}}}}",
    ],
)
def test_what_does_not_load_does_not_fit(text: str) -> None:
    assert not fits(yaml.safe_load(text), SCHEMA)


def test_every_example_fits() -> None:
    files = [ROOT / "config/config.yml", ROOT / "mess/config/template.yml", *(ROOT / "config/examples").glob("*.yml")]
    assert [file.name for file in files if not fits(yaml.safe_load(file.read_text()), SCHEMA)] == []


def test_the_schema_beside_the_config_file_is_up_to_date() -> None:
    """`python -m docs.generate` writes it."""
    assert (ROOT / "config/mess.schema.json").read_text() == json.dumps(json_schema(), indent=2) + "\n"


def test_every_option_is_described() -> None:
    nodes = [SCHEMA, *(node for name, node in SCHEMA["$defs"].items() if "properties" in node)]
    missing = [
        key
        for node in nodes
        for key, option in node["properties"].items()
        # Where an option and what it refers to would say the same, it is said once.
        if "description" not in option and "$ref" not in json.dumps(option)
    ]
    assert missing in ([], ["path", "default", "value"])


def test_every_step_has_its_options() -> None:
    assert set(steps.names()) <= SCHEMA["$defs"].keys()
