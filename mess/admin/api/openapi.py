"""The API's OpenAPI document, from its operations and models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import mess
from mess.admin.api import models
from mess.admin.api.access import CHANGES
from mess.admin.api.operation import Operation

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")
_ERRORS = {
    400: "The input is not valid",
    401: "The token is missing or wrong",
    403: "Not allowed in this way",
    404: "There is no such thing",
    409: "Something has changed meanwhile, or is in the way; or this process is a standby",
    413: "The body is too large",
    421: "The server does not answer to this host name",
    503: "The state does not respond, or is not open yet",
}
_SECURITY: dict[str, list[str]] = {"token": []}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    used = _used(operations)
    _, schemas = models_json_schema(used, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "MESS admin API", "version": mess.__version__},
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`admin.token`"}},
        },
    }


def _used(operations: Sequence[Operation]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[type[BaseModel], JsonSchemaMode] = {models.Error: "validation"}
    for operation in operations:
        found |= {model: "validation" for model in (operation.answer, operation.body) if model is not None}
    return list(found.items())


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        parameters += _query(operation.query)
    if operation.allowed == "change":
        parameters.append({"name": CHANGES, "in": "header", "required": True, "schema": {"type": "string"}})
    errors = {400, 413, 421, 503, *operation.errors} | ({401, 403} if operation.allowed != "open" else set())
    errors |= {409} if operation.active else set()
    described = {
        "summary": operation.summary,
        "operationId": operation.run.__module__.rpartition(".")[2] + "_" + operation.run.__name__,
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "content": _content(operation.answer, stream=operation.lasting)},
            **{str(status): _error(status) for status in sorted(errors)},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if operation.allowed != "open":
        described["security"] = [_SECURITY, {}]
    return described


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    found = []
    for name, field in schema["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        shape = {key: value for key, value in kinds[0].items() if key not in ("title", "description", "default")}
        if shape.get("type") == "array":  # separated by commas
            shape = {"type": "string"}
        parameter = {"name": name, "in": "query", "schema": shape}
        found.append(parameter | ({"description": field["description"]} if "description" in field else {}))
    return found


def _content(model: type[BaseModel], *, stream: bool = False) -> dict[str, Any]:
    return {
        "text/event-stream" if stream else "application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}
    }


def _error(status: int) -> dict[str, Any]:
    return {"description": _ERRORS[status], "content": _content(models.Error)}
