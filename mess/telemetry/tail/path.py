"""The path of one event through its pipeline, as live tails show it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import orjson
from bson import Timestamp

from mess.event import Event
from mess.telemetry.printable import printable_json
from mess.telemetry.redact import redact
from mess.telemetry.tail.clip import Clip

BODY_MAX = 64 * 1024
"""The maximum size of a body in a live tail, in bytes of JSON; a larger one is cut."""

HIDDEN = "hidden: the config says admin: {payloads: off}"
"""Stands for texts that may repeat parts of documents."""

_MOST_STEPS = 100


class StepName(NamedTuple):
    """A step of a pipeline, and whether it delivers outside."""

    name: str
    sink: bool


class StepRecord:
    """What happened to an event at a step. `body` is the body after it; `seconds` what its mini-batch took."""

    __slots__ = ("attempts", "body", "error", "result", "seconds", "step", "time")

    def __init__(self, step: str) -> None:
        self.step = step
        self.result: str | None = None
        self.error: str | None = None
        self.body: dict[str, Any] | None = None
        self.seconds: float | None = None
        self.time = 0.0
        self.attempts = 0


class EventPath:
    """Follows an event. `whole` is whether it does so from the start, so that a step without a record was bypassed."""

    __slots__ = ("ended", "event", "outcome", "pipeline", "selections", "steps", "stream", "whole")

    def __init__(self, event: Event, selections: Sequence[Any], stream: str | None, *, whole: bool) -> None:
        self.event = event
        self.selections = selections
        self.stream = stream
        self.whole = whole
        self.pipeline = ""
        self.outcome = ""
        self.ended = 0.0
        self.steps: list[StepRecord] = []

    def at(self, step: str) -> StepRecord:
        """The record of a step: an event comes to it again only to be tried again."""
        steps = self.steps
        if not steps or (steps[-1].step != step and len(steps) < _MOST_STEPS):
            steps.append(StepRecord(step))
        return steps[-1]

    def end(self, pipeline: str, *, delivered: bool) -> None:
        """The event has left its pipeline."""
        self.pipeline = pipeline
        self.ended = time.time()
        if delivered:
            self.outcome = "delivered"
        elif not self.outcome:
            self.outcome = "dropped"
            if self.steps and self.steps[-1].result is None:
                self.steps[-1].result = "dropped"

    def reached(self, step: str) -> bool:
        """Whether the event came to a step."""
        return any(record.step == step for record in self.steps)

    def frame(self, steps: Sequence[StepName], *, documents: bool, bodies: bool) -> bytes:
        """The event as a message of a stream of server-sent events; `steps` are those of its pipeline."""
        shown = self._shown(steps, documents=documents, bodies=bodies)
        try:
            data = orjson.dumps(shown, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z).decode()
        except TypeError:  # a user's function may put anything into a body, such as lone surrogates
            data = json.dumps(shown, default=str)
        return f"event: change\nid: {self.event.id}\ndata: {printable_json(redact(data))}\n\n".encode()

    def _shown(self, steps: Sequence[StepName], *, documents: bool, bodies: bool) -> dict[str, Any]:
        event = self.event
        ended_at = None if self.outcome == "delivered" or not self.steps else self.steps[-1].step
        shown: dict[str, Any] = {
            "id": event.id,
            "time": _utc(self.ended),
            "committed": committed(event.change),
            "namespace": str(event.namespace),
            "operation": event.operation,
            "stream": self.stream,
            "pipeline": self.pipeline,
            "outcome": self.outcome,
            "ended_at": ended_at,
            "replay": event.replay,
            "backfill": event.backfill,
            "attempts": max((record.attempts for record in self.steps), default=0),
            "steps": self._steps(steps, documents=documents, bodies=bodies),
        }
        if documents:
            _put(shown, "key", event.key)
        if bodies:
            _put(shown, "change", event.change)
        return shown

    def _steps(self, steps: Sequence[StepName], *, documents: bool, bodies: bool) -> list[dict[str, Any]]:
        sinks = {step.name for step in steps if step.sink}
        shown: list[dict[str, Any]] = []
        before: Any = self.event.change
        for record in self._with_bypassed(steps):
            result = record.result or "dropped"
            found: dict[str, Any] = {
                "step": record.step,
                "result": "delivered" if result == "passed" and record.step in sinks else result,
                "seconds": record.seconds,
                "time": _utc(record.time) if record.time else None,
                "error": record.error if record.error is None or documents else HIDDEN,
            }
            if bodies and record.body is not None and record.body is not before:
                _put(found, "body", record.body)
                before = record.body
            shown.append(found)
        return shown

    def _with_bypassed(self, steps: Sequence[StepName]) -> list[StepRecord]:
        """The records, with one for each step that the event bypassed."""
        if not self.whole:
            return self.steps
        known = {record.step: record for record in self.steps}
        last = None if self.outcome == "delivered" or not self.steps else self.steps[-1].step
        found: list[StepRecord] = []
        for step in steps:
            record = known.pop(step.name, None)
            if record is None:
                record = StepRecord(step.name)
                record.result = "bypassed"
            found.append(record)
            if step.name == last:
                break
        return found + list(known.values())


def committed(change: Mapping[str, Any]) -> datetime | None:
    """When a change was committed, in UTC; None if it does not say."""
    wall, cluster = change.get("wallTime"), change.get("clusterTime")
    if isinstance(wall, datetime):
        return wall
    return _utc(cluster.time) if isinstance(cluster, Timestamp) else None


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), timezone.utc)


def _put(shown: dict[str, Any], name: str, value: Any) -> None:
    clip = Clip(BODY_MAX)
    shown[name] = clip.copy(value)
    if clip.cut:
        shown[f"{name}_cut"] = True
