"""Finds values that steps refer to and that some operations never provide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mess import steps
from mess.config.chains import Chain, chains, database_chain, innermost, wants_full_document
from mess.config.document import Path
from mess.config.model import Config, StepSpec
from mess.config.operations import OF_A_DATABASE, OF_DOCUMENTS, OPERATIONS, READ
from mess.config.placeholders import is_own
from mess.formats.body import CHANGE, Shape, Unknown
from mess.formats.paths import parse_path
from mess.steps.base import Reading, StepConfig

_CONSEQUENCES = {
    "refused": "which the step refuses",
    "empty": "where the text is left empty",
    "error": "which the step refuses",
}


def absent(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield a warning, with its path, for each value without a default that some events in scope cannot fill."""
    found: dict[tuple[Path, Reading], list[str]] = {}
    for chain, operations in _deliveries(config):
        path, pipeline = innermost(chain, "pipeline", ())
        if innermost(chain, "change_hook")[1] is not None:
            continue
        for index, _, reading, origin in readings_from_change(config, pipeline):
            if reading.need not in _CONSEQUENCES or reading.default:
                continue
            taken = (*OF_DOCUMENTS, READ) if pipeline[index].config.get("format") == "debezium" else operations
            lacking = [one for one in operations if one in taken and lacks(one, origin, chain)]
            if lacking:
                place = (*path, "pipeline", index, "config", *reading.option)
                found[place, reading] = list(dict.fromkeys([*found.get((place, reading), ()), *lacking]))
    for (place, reading), lacking in found.items():
        if reading.need == "error":
            shown, default = f"event.{reading.name}", f"event.?{reading.name.replace('.', '.?')}.orValue(0)"
        else:
            shown, default = f"{{{reading.name}}}", f"{{{reading.name}|none}}"
        yield (
            place,
            f"{shown} has no value in events of {_listed(lacking)}, {_CONSEQUENCES[reading.need]}; leave "
            f"{'this' if len(lacking) == 1 else 'these'} out of operations, or give a default, as in {default}",
        )


def _deliveries(config: Config) -> Iterator[tuple[Chain, list[str]]]:
    """Each scope chain, with the operations whose events go through its pipeline."""
    for chain in chains(config):
        yield chain, [one for one in _operations(chain) if one != OF_A_DATABASE]
    for db in config.databases:
        chain = database_chain(config, db)
        if OF_A_DATABASE in innermost(chain, "operations", OPERATIONS)[1]:
            yield chain, [OF_A_DATABASE]


def _operations(chain: Chain) -> list[str]:
    """The operations that pass a chain's `operations` and, where it is easy to see, its `match`."""
    operations: list[str] = list(innermost(chain, "operations", OPERATIONS)[1])
    match = innermost(chain, "match")[1] or {}
    if wants_full_document(match):
        operations = [one for one in operations if not lacks(one, ("fullDocument",), chain)]
    return [one for one in operations if _lets_pass(match.get("operationType"), one)]


def _lets_pass(condition: Any, operation: str) -> bool:
    if not isinstance(condition, dict):
        return condition is None or condition == operation
    wanted = condition.get("$in", [condition["$eq"]] if "$eq" in condition else None)
    unwanted = condition.get("$nin", [condition.get("$ne")])
    return not (isinstance(wanted, list) and operation not in wanted) and not (
        isinstance(unwanted, list) and operation in unwanted
    )


def readings_from_change(
    config: Config, pipeline: tuple[StepSpec, ...]
) -> Iterator[tuple[int, StepConfig, Reading, Path]]:
    """The values that a pipeline's steps read from the change event.

    Yields the step's index, its options, the value, and the value's path in the change event.
    """
    body: Shape | None = CHANGE
    for index, spec in enumerate(pipeline):
        if spec.name in config.plugins:
            return
        options: StepConfig = steps.config_class(spec.name).model_validate(spec.config)
        for reading in options.named_values():
            if not is_own(reading) and body is not None:
                found = body.find(parse_path(reading.name))
                if not isinstance(found, Unknown) and found.origin:
                    yield index, options, reading, found.origin
        body = options.body_after(body)


def lacks(operation: str, origin: Path, chain: Chain) -> bool:
    """Whether events of this operation never have a value at this path of the change event."""
    match origin[0]:
        case "_id":
            return operation == READ
        case "documentKey":
            return operation not in (*OF_DOCUMENTS, READ)
        case "fullDocument":
            looked_up = innermost(chain, "full_document", "update_lookup")[1] != "off"
            return operation not in (READ, "insert", "replace", *(("update",) if looked_up else ()))
        case "fullDocumentBeforeChange":
            kept = innermost(chain, "full_document_before_change", "off")[1] != "off"
            return operation not in (("update", "replace", "delete") if kept else ())
        case "updateDescription":
            return operation != "update"
        case "to":
            return operation != "rename"
        case "ns":
            return origin[1:] == ("coll",) and operation == OF_A_DATABASE
    return False


def _listed(operations: list[str]) -> str:
    *others, last = operations
    return f"{', '.join(others)} and {last}" if others else last
