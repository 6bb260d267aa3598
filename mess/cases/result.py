"""What became of an event, in the form of `expect`, and whether it is what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import unified_diff
from typing import Any

from mess.cases.content import Expected, ExpectedMessage
from mess.errors import Refused
from mess.formats import bson_json
from mess.relay.dry_run import DryRun
from mess.steps.base import Preview
from mess.telemetry.redact import redacted

Outcome = dict[str, Any]
"""An entry of `expect` as plain data, without secrets."""
_ENDS = ("dropped", "refused", "retried")
_LINE = re.compile(r" \([^()]*:\d+\)$")
"""Where a user's function raised an exception; any edit moves it."""


def outcome(run: DryRun) -> Outcome:
    """All that became of an event."""
    found: Outcome = {"sent": {name: _message(each) for name, each in run.sent.items() if each is not None}}
    found["after"] = {name: _extended(body) for name, body in run.bodies.items()}
    if run.dropped is not None:
        found["dropped"] = run.dropped
    if run.error is not None:
        found["refused" if isinstance(run.error, Refused) else "retried"] = f"{run.failed}: {run.error}"
    clean: Outcome = redacted(found)
    return clean


def snapshot(actual: Outcome) -> Outcome:
    """What a new case should expect: what is sent and how it ends; the last body if nothing is sent."""
    kept = {name: actual[name] for name in ("sent", *_ENDS) if actual.get(name)}
    for end in ("refused", "retried"):
        if end in kept:
            kept[end] = _LINE.sub("", kept[end])
    if not kept and actual["after"]:
        name, body = list(actual["after"].items())[-1]
        kept["after"] = {name: body}
    return kept


def compare(expected: Expected, actual: Outcome) -> tuple[Outcome, Outcome]:
    """What is expected, and the same parts of what became of the event. If they are equal, the case passes."""
    wanted: Outcome = {}
    found: Outcome = {}
    for name, message in expected.sent.items():
        wanted.setdefault("sent", {})[name] = want = _given(message)
        if name in actual["sent"]:
            found.setdefault("sent", {})[name] = _parts(want, actual["sent"][name])
    for name, body in expected.after.items():
        wanted.setdefault("after", {})[name] = body
        if name in actual["after"]:
            found.setdefault("after", {})[name] = actual["after"][name]
    wanted = redacted(wanted)
    for end in _ENDS:
        want, got = redacted(getattr(expected, end)), actual.get(end)
        if want:
            wanted[end] = want
        if got is not None:
            fits = want is True or (isinstance(want, str) and (want == got if end == "dropped" else want in got))
            found[end] = want if fits else got
    return wanted, found


def same(wanted: Any, found: Any) -> bool:
    """Whether two values are the same JSON; the order of an object's fields makes no difference."""
    return _lines(wanted) == _lines(found)


def diff(wanted: Outcome, found: Outcome) -> list[str]:
    """The lines of a unified diff."""
    return list(unified_diff(_lines(wanted), _lines(found), "expected", "actual", lineterm=""))


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).split("\n")


def _extended(body: Any) -> Any:
    try:
        return json.loads(bson_json.relaxed(body))
    except (TypeError, ValueError) as error:  # a user's function may return anything
        return f"no JSON: {error}"


def _message(preview: Preview) -> dict[str, Any]:
    return {
        **preview.address,
        "headers": {name.lower(): text for name, text in preview.headers.items()},
        "body": _body(preview),
    }


def _body(preview: Preview) -> Any:
    try:
        body = json.loads(preview.body)
    except ValueError:  # a package's format may write anything
        return preview.body.decode("utf-8", "backslashreplace")
    if preview.varying and isinstance(body, dict):
        return {name: each for name, each in body.items() if name not in preview.varying}
    return body


def _given(message: ExpectedMessage) -> dict[str, Any]:
    """What is given of a message, in the form of an outcome. A body may be null."""
    given = {name: getattr(message, name) for name in message.model_fields_set}
    if "headers" in given:
        given["headers"] = {name.lower(): text for name, text in message.headers.items()}
    return given


def _parts(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: actual[name] for name in wanted if name in actual}
    if "headers" in wanted:
        found["headers"] = _within(wanted["headers"], actual["headers"])
    if "body_contains" in wanted:
        found["body_contains"] = _within(wanted["body_contains"], actual["body"])
    return found


def _within(wanted: Any, actual: Any) -> Any:
    """The parts of a value that `wanted` has, too."""
    if isinstance(wanted, dict) and isinstance(actual, dict):
        return {name: _within(each, actual[name]) for name, each in wanted.items() if name in actual}
    if isinstance(wanted, list) and isinstance(actual, list) and len(wanted) == len(actual):
        return [_within(*pair) for pair in zip(wanted, actual, strict=True)]
    return actual
