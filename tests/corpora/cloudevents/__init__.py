"""Reads CloudEvents' JSON Schema and conformance cases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent

SCHEMA: dict[str, Any] = json.loads((_HERE / "cloudevents.json").read_text())
"""The schema of an event in structured mode."""


class Structured(NamedTuple):
    """A binding's case for structured mode: the event's JSON, and the content types that it may have."""

    event: dict[str, Any]
    content_types: frozenset[str]


def structured(binding: str) -> Structured:
    """The case of a binding (`http`, `kafka`)."""
    text = (_HERE / f"{binding}-protocol-binding.feature").read_text()
    scenario = text.partition("Structured content mode")[2]
    found = re.search(r"^ *\{.*?^ {8}\}$", scenario, re.DOTALL | re.MULTILINE)
    assert found is not None
    rows = scenario.partition("Examples:")[2].split("|")
    return Structured(json.loads(found[0]), frozenset(each.strip() for each in rows if "/" in each))
