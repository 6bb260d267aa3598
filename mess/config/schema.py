"""The config file's JSON Schema (2020-12), for completion and checks in editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from mess import steps
from mess.config.model import Config
from mess.options.sections import for_all
from mess.steps.base import StepConfig

_VARIABLE = {
    "description": "A value from the environment or a file: `${NAME}`, `${NAME:-default}`, `${file:/path}`.",
    "type": "string",
    "pattern": r"\$\{",
}
_NULL = {"type": "null"}


def json_schema(*, installed: bool = False) -> dict[str, Any]:
    """The schema of the config file, with the options of each step next to its name.

    With `installed`, it includes the steps, brokers and formats of installed packages, except broken ones. It knows no
    plugins: a step of another name may have any options.
    """
    schema = _tidy(Config.model_json_schema(), nullable=True)
    definitions: dict[str, Any] = schema.pop("$defs")
    for scope in (schema, definitions["DatabaseScope"], definitions["CollectionScope"]):
        scope["properties"]["change_hook"] = scope["properties"]["changeHook"]
    models = {name: steps.config_class(name) for name in steps.names()}
    if installed:
        models = {name: for_all(model) for name, model in (models | steps.STEPS.installed()).items()}
    definitions["StepSpec"] = _step(definitions["StepSpec"], models)
    for name, model in models.items():
        definitions |= _options(name, model)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": {"Variable": _VARIABLE, **definitions},
    }


def _options(name: str, model: type[StepConfig]) -> dict[str, Any]:
    """A step's options and the definitions that they reference, all under the step's name."""
    try:
        options = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    except PydanticInvalidForJsonSchema:
        return {name: {"type": "object"}}  # a package's options may be of a kind that no schema can express
    if model.ignores_unknown:
        options["additionalProperties"] = True
    inner = {f"{name}.{key}": _tidy(one) for key, one in options.pop("$defs", {}).items()}
    return {name: _tidy(options), **inner}


def _step(spec: dict[str, Any], models: Mapping[str, type[StepConfig]]) -> dict[str, Any]:
    """A pipeline's entry: a name, or an object whose `config` fits the step that it names."""
    name = {"anyOf": [{"enum": list(models)}, {"type": "string"}]}
    spec["properties"]["name"] = {"description": spec["properties"]["name"]["description"], **name}
    spec["allOf"] = [
        {"if": {"properties": {"name": {"const": step}}, "required": ["name"]}, "then": _config_of(step, model)}
        for step, model in models.items()
    ]
    return {"description": spec.pop("description"), "anyOf": [*name["anyOf"], spec]}


def _config_of(step: str, model: type[StepConfig]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{step}"}
    if any(field.is_required() for field in model.model_fields.values()):
        return {"properties": {"config": reference}, "required": ["config"]}
    return {"properties": {"config": {"anyOf": [reference, _NULL]}}}


def _tidy(node: Any, *, nullable: bool = False) -> Any:
    """Remove titles that only repeat a name. With `nullable`, a mapping may have no value, which means that it is
    empty."""
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if key != "title"}
    if node.get("default", _NULL) is None or isinstance(node.get("default"), dict):
        del node["default"]
    if "$defs" in node:
        node["$defs"] = {name: _tidy(inner, nullable=nullable) for name, inner in node["$defs"].items()}
    if "properties" in node:
        node["properties"] = {name: _value(inner, nullable) for name, inner in node["properties"].items()}
    if "items" in node:
        node["items"] = _value(node["items"], False)
    if "additionalProperties" in node:
        node["additionalProperties"] = _value(node["additionalProperties"], nullable)
    if "anyOf" in node:
        node["anyOf"] = [_tidy(inner, nullable=nullable) for inner in node["anyOf"]]
    return node


def _value(node: Any, nullable: bool) -> Any:
    """The schema of a value. Values that are not text may come from a variable."""
    node = _tidy(node, nullable=nullable)
    if not isinstance(node, dict):
        return node
    branches = node.get("anyOf", [node])
    more: list[Any] = []
    if any(_typed(branch) for branch in branches) and {"type": "string"} not in branches:
        more.append({"$ref": "#/$defs/Variable"})
    if (
        nullable
        and any("$ref" in branch or branch.get("type") == "object" for branch in branches)
        and _NULL not in branches
    ):
        more.append(_NULL)
    if not more:
        return node
    about = {key: value for key, value in node.items() if key in ("description", "default")}
    core = {key: value for key, value in node.items() if key not in about}
    return {**about, "anyOf": [*core.get("anyOf", [core]), *more]}


def _typed(node: dict[str, Any]) -> bool:
    return node.get("type") in ("integer", "number", "boolean") or not {"enum", "const", "pattern"}.isdisjoint(node)
