"""Reads case files, and finds the pipeline that each event takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mess.cases.check import check
from mess.cases.content import Content, Expected
from mess.cases.events import event_of
from mess.config import scope
from mess.config.document import Document
from mess.config.js.file import read_js
from mess.config.load import Loaded
from mess.config.model import Config
from mess.config.validate import validate
from mess.config.yaml_file import read_yaml
from mess.errors import Problem
from mess.event import Event
from mess.files import read_bounded
from mess.relay.build import Steps
from mess.similar import did_you_mean

_OF_LETTERS = ("id", "document", "backfill", "event")
"""What an event's dead letter knows of it; all else is about its failure."""
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Case:
    """A case. `events` come with the names of their pipelines; `expect` has an entry for each, or is None.

    `data` is the file's content, and `text` its text.
    """

    path: Path
    text: str
    data: Mapping[str, Any]
    events: tuple[tuple[Event, str], ...]
    expect: tuple[Expected, ...] | None


def read(path: Path, loaded: Loaded, steps: Steps, *, update: bool = False) -> tuple[Case | None, list[Problem]]:
    """The case in a file, or what is wrong with it. `steps` are the config's.

    With `update`, an `expect` that these steps cannot fulfil counts as none.
    """
    document = Document(str(path))
    text = _text(path, document)
    if text is None:
        return None, document.problems
    return case_of(text, path, loaded, steps=steps, update=update)


def case_of(
    text: str, path: Path, loaded: Loaded, *, steps: Steps, update: bool = False
) -> tuple[Case | None, list[Problem]]:
    """The case with this text, which is or will be that of its file; otherwise the same as `read`."""
    document = Document(str(path))
    parse(text, document)
    if document.data is None and not document.problems:
        document.report("is empty; a case has events: and expect:")
    data = _with_events(document)
    if data is None or document.problems:
        return None, document.problems
    content = validate(Content, data, document)
    if content is None:
        return None, document.problems
    events = _events(content, document, loaded.config, steps)
    if document.problems:
        return None, document.problems
    expect = content.expect
    if expect is not None:
        check(expect, [pipeline for _, pipeline in events], document, steps)
        if document.problems and update:
            expect = None
        elif document.problems:
            return None, document.problems
    expected = None if expect is None else tuple(expect)
    return Case(path, text=text, data=data, events=tuple(events), expect=expected), []


def parse(text: str, document: Document) -> None:
    """Fill a document from the text of its file: JSON or, unless the name ends in `.json`, YAML."""
    (read_js if document.file.endswith(".json") else read_yaml)(text, document)


def _text(path: Path, document: Document) -> str | None:
    try:
        return read_bounded(path, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        document.report("is not text in UTF-8")
    except (OSError, ValueError) as error:
        document.report(f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return None


def _with_events(document: Document) -> dict[str, Any] | None:
    """The content; of a file that is itself an event or a dead letter, a case with that event."""
    data = document.data
    if isinstance(data, dict):
        if "events" in data:
            return data
        if "operationType" in data:
            return {"events": [data]}
        if "event" in data:
            return {"events": [{name: data[name] for name in _OF_LETTERS if name in data}]}
        return data
    if not document.problems:
        document.report("must be a mapping, with a list of change events under events:")
    return None


def _events(content: Content, document: Document, config: Config, steps: Steps) -> list[tuple[Event, str]]:
    named = content.pipeline
    if named is not None and named not in steps:
        known = ", ".join(map(repr, steps))
        document.report(f"the config has no such pipeline; it has {known}{did_you_mean(named, steps)}", ("pipeline",))
        return []
    found: list[tuple[Event, str]] = []
    for index, data in enumerate(content.events):
        try:
            event = event_of(data, index + 1, config)
        except ValueError as error:
            document.report(str(error), ("events", index))
            continue
        pipeline = named or pipeline_of(event, config)
        if pipeline not in steps:
            document.report(
                f"the config has no pipeline for {event.namespace}; correct ns, or set pipeline:", ("events", index)
            )
        else:
            found.append((event, pipeline))
    return found


def pipeline_of(event: Event, config: Config) -> str | None:
    """The name of the pipeline that an event takes; None if the config selects no such event."""
    found, target = scope.pipeline_of(config, event.namespace), event.change.get("to")
    if found is None and event.operation == "rename" and isinstance(target, dict):
        return scope.pipeline_of(config, (str(target.get("db", "")), str(target.get("coll", ""))))
    return found
