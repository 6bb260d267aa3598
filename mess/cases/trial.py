"""One event through a pipeline, step by step, without sending anything: "try an event" in the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mess.admin.api.models import Tried, TriedStep
from mess.cases.case import pipeline_of
from mess.cases.events import event_of
from mess.config.load import Loaded
from mess.errors import ConfigError
from mess.formats import bson_json
from mess.relay.build import BuiltStep, build_pipelines
from mess.relay.dry_run import DryRun, dry_run, opened
from mess.similar import did_you_mean
from mess.steps.base import Preview


async def try_event(loaded: Loaded, data: Mapping[str, Any], pipeline: str | None) -> Tried:
    """What each step of a pipeline makes of an event in Extended JSON; by default of its namespace's pipeline. Users'
    functions really run.

    Raises ConfigError if it is no event, or if there is no such pipeline.
    """
    config = loaded.config
    try:
        event = event_of(_change(data), 1, config)
    except ValueError as error:
        raise ConfigError(f"the event {error}") from None
    steps = build_pipelines(loaded)
    name = pipeline if pipeline is not None else pipeline_of(event, config)
    if name not in steps:
        known = ", ".join(map(repr, steps)) or "none"
        if pipeline is None:
            raise ConfigError(f"the config has no pipeline for {event.namespace}; name one of {known}")
        raise ConfigError(f"there is no pipeline {pipeline!r}; there are: {known}{did_you_mean(pipeline, steps)}")
    built = steps[name]
    async with opened(built):
        found = await dry_run(built, event)
    return Tried(pipeline=name, steps=[_step(step.name, found) for step in _reached(built, found)])


def _change(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A change event; for `{"namespace": …, "document": …}`, that of an insert."""
    if "document" not in data or "namespace" not in data:
        return data
    document, namespace = data["document"], data["namespace"]
    if not isinstance(document, dict) or not isinstance(namespace, str) or "." not in namespace:
        raise ConfigError('write {"namespace": "database.collection", "document": {…}}, or a change event')
    db, _, coll = namespace.partition(".")
    return {
        "operationType": "insert",
        "ns": {"db": db, "coll": coll},
        "documentKey": {"_id": document.get("_id")},
        "fullDocument": document,
    }


def _reached(built: Sequence[BuiltStep], found: DryRun) -> Sequence[BuiltStep]:
    last = found.dropped or found.failed
    names = [step.name for step in built]
    return built if last is None else built[: names.index(last) + 1]


def _step(name: str, found: DryRun) -> TriedStep:
    error = str(found.error) if found.failed == name else None
    if name == found.failed:
        return _tried(name, "failed", error=error)
    if name == found.dropped:
        return _tried(name, "dropped")
    if name in found.sent:
        return _sent(name, found.sent[name])
    if name in found.bodies:
        return _tried(name, "passed", body=orjson.loads(bson_json.relaxed(found.bodies[name])))
    return _tried(name, "bypassed")


def _sent(name: str, preview: Preview | None) -> TriedStep:
    if preview is None:
        return _tried(name, "would_send")
    text = preview.body.decode("utf-8", "replace")
    try:
        body = orjson.loads(text)
    except ValueError:
        body = text
    address = preview.address
    where = address.get("url") or " ".join(f"{key}={value}" for key, value in address.items()) or None
    return _tried(name, "would_send", body=body, destination=where, headers=dict(preview.headers))


def _tried(
    name: str,
    result: Any,
    *,
    body: Any = None,
    destination: str | None = None,
    headers: dict[str, str] | None = None,
    error: str | None = None,
) -> TriedStep:
    return TriedStep(step=name, result=result, body=body, destination=destination, headers=headers, error=error)
