"""Configs near to valid ones, made from the config file's own JSON Schema."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mess.config.schema import json_schema
from tests.fuzz.config_options import (
    BY_NAME,
    DURATIONS,
    NAMES,
    SETTINGS,
    SIZES,
    STATUSES,
    STEPS,
    TEMPLATES,
    URLS,
    Option,
    good_references,
    odd,
    odd_texts,
    references,
)

_SCHEMA = json_schema()


@st.composite
def config_trees(draw: st.DrawFn) -> dict[str, Any]:
    """Configs made of known options: a third of them all right, as far as each option by itself goes, the others
    with a few wrong ones, or many."""
    every = draw(st.sampled_from([0, 60, 10]))
    tree: dict[str, Any] = _Drawing(draw, every).node(_SCHEMA, "", 0)
    # Without these, little else is looked at.
    for name, value in (("databases", {"shop": {}}), ("plugins", {"enrich": "my_plugins:enrich"})):
        if tree.get(name) is None:
            tree[name] = value
    return tree


class _Drawing:
    """Draws a value for each node of the schema; one of `every` is wrong (none for 0)."""

    def __init__(self, draw: st.DrawFn, every: int) -> None:
        self._draw = draw
        self._every = every

    def node(self, schema: Any, name: str, depth: int) -> Any:
        draw = self._draw
        if "$ref" in schema:
            definition = schema["$ref"].removeprefix("#/$defs/")
            if definition == "Variable":
                return draw(references if self._wrong() else good_references)
            schema = _SCHEMA["$defs"][definition]
        if depth and self._wrong():
            return draw(odd)
        if (option := self._known(schema, name)) is not None:
            return draw(option.wrong if self._wrong() else option.right)
        if "anyOf" in schema:
            variable = self._wrong()
            branches = [one for one in schema["anyOf"] if variable or one.get("$ref") != "#/$defs/Variable"]
            return self.node(draw(st.sampled_from(branches)), name, depth + 1)
        if "enum" in schema or "const" in schema:
            return draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
        return self._typed(schema, name, depth)

    def _wrong(self) -> bool:
        # Not an end of the range: those are drawn more often than the rest.
        return self._every > 0 and self._draw(st.integers(0, self._every)) == self._every // 2

    def _known(self, schema: Any, name: str) -> Option | None:
        about, pattern = schema.get("description", ""), schema.get("pattern", "")
        if name == "url":
            return next(option for word, option in URLS.items() if word in about)
        if name == "config" and "librdkafka" in about:
            return SETTINGS
        if "ms|s" in pattern:
            return DURATIONS
        if "[KMG]" in pattern:
            return SIZES
        return STATUSES if "xX" in pattern else BY_NAME.get(name)

    def _typed(self, schema: Any, name: str, depth: int) -> Any:
        draw = self._draw
        kind = schema.get("type")
        if kind == "object":
            is_step = {"name", "config"} <= schema.get("properties", {}).keys()
            return self._step(schema, depth) if is_step else self._object(schema, depth)
        if kind == "array":
            return [self.node(schema.get("items", {}), name, depth + 1) for _ in range(draw(st.integers(1, 2)))]
        if kind in ("integer", "number"):
            low = int(schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1))
            return draw(st.integers(low, low + 1))
        if kind == "boolean":
            return draw(st.booleans())
        return None if kind == "null" else draw(TEMPLATES.right)

    def _object(self, schema: Any, depth: int) -> dict[str, Any]:
        draw = self._draw
        found: dict[str, Any] = {}
        for name, inner in schema.get("properties", {}).items():
            every = 2 if name in ("pipeline", "match", "config") else 4
            if name in schema.get("required", ()) or draw(st.integers(1, every)) == every:
                found[name] = self.node(inner, name, depth + 1)
        others = schema.get("additionalProperties", False)
        if isinstance(others, dict):
            for _ in range(draw(st.integers(1, 2))):
                name = draw(NAMES.wrong | odd_texts if self._wrong() else NAMES.right)
                found[name] = self.node(others, "", depth + 1)
        if "changeHook" in found and not self._wrong():
            found.pop("change_hook", None)
        if self._wrong():
            ending = draw(st.sampled_from(["", "s", "_", " ", "\0"]))
            found[draw(st.sampled_from(sorted([*found, "x"]))) + ending] = draw(odd)
        return found

    def _step(self, schema: Any, depth: int) -> dict[str, Any]:
        name = self._draw(STEPS.wrong if self._wrong() else STEPS.right)
        found = self._object(schema, depth)
        options = _SCHEMA["$defs"].get(name)
        if options is not None and not self._wrong():
            found["config"] = self._object(options, depth)
        return {**found, "name": name}
