"""Writes what became of a case's events into its file, as what is expected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

from mess.cases.case import Case, parse
from mess.cases.result import Outcome, snapshot
from mess.config.document import Document
from mess.errors import ConfigError, Problem

_KEY = "expect"


def update(case: Case, outcomes: Iterable[Outcome]) -> None:
    """Replace the case's `expect`. In a YAML file, all other text stays as it is.

    Raises ConfigError if the file cannot be written, or if it could not be read again, as with a very deep body; then
    it stays as it is.
    """
    text = text_with(case, outcomes)
    try:
        case.path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(f"cannot be written: {error.strerror}", file=str(case.path))]) from error


def text_with(case: Case, outcomes: Iterable[Outcome]) -> str:
    """The text of the case's file with these outcomes as its `expect`. Raises ConfigError if it could not be read
    again."""
    text = _text(case, [snapshot(each) for each in outcomes])
    document = Document(str(case.path))
    parse(text, document)
    if document.problems:
        message = f"what is sent now cannot be written into it: {document.problems[0].message}"
        raise ConfigError([Problem(message, file=str(case.path))])
    return text


def _text(case: Case, expect: list[Outcome]) -> str:
    whole = {**case.data, _KEY: expect}
    if case.path.suffix == ".json":
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    root = yaml.compose(case.text, Loader=yaml.SafeLoader)
    keys = [key for key, _ in root.value] if isinstance(root, yaml.MappingNode) and not root.flow_style else []
    if "events" not in [key.value for key in keys]:
        return as_yaml(whole)
    lines = case.text.splitlines(keepends=True)
    starts = [key.start_mark.line for key in keys]
    first = next((key.start_mark.line for key in keys if key.value == _KEY), len(lines))
    last = min((start for start in starts if start > first), default=len(lines))
    while last > first and not lines[last - 1].split("#")[0].strip():
        last -= 1  # empty lines and comments before the next key belong to that
    before = "".join(lines[:first])
    return before + ("" if before.endswith("\n") else "\n") + as_yaml({_KEY: expect}) + "".join(lines[last:])


def as_yaml(value: Any) -> str:
    """A value of JSON's types, as it is written in cases."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))
