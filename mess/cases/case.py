"""Reads case files, and finds the pipeline that each event takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mess.cases.content import Content, Expected
from mess.cases.events import event_of
from mess.config.document import Document
from mess.config.js.file import read_js
from mess.config.load import Loaded
from mess.config.model import Config
from mess.config.scope import resolve
from mess.config.validate import validate
from mess.config.yaml_file import read_yaml
from mess.errors import ConfigError, Problem
from mess.event import Event
from mess.files import read_bounded
from mess.relay.build import Steps
from mess.similar import did_you_mean
from mess.steps.base import Sink

SUFFIXES = (".yml", ".yaml", ".json")
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


def find(paths: list[Path]) -> list[Path]:
    """The case files among these, and in these folders and below, in alphabetical order. Raises ConfigError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inner = [file for file in path.rglob("*") if file.suffix in SUFFIXES and _visible(file.relative_to(path))]
            found += sorted(file for file in inner if file.is_file())
        elif path.exists():
            found.append(path)
        else:
            problem = "there is no such folder; put cases (*.yml, *.json) into it, or name the one that has some"
            raise ConfigError([Problem(problem, file=str(path))])
    if not found:
        raise ConfigError(f"there is no case (*.yml, *.yaml, *.json) in {', '.join(map(str, paths))}; write one")
    return list(dict.fromkeys(found))


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def read(path: Path, loaded: Loaded, steps: Steps, *, update: bool = False) -> tuple[Case | None, list[Problem]]:
    """The case in a file, or what is wrong with it. `steps` are the config's.

    With `update`, an `expect` that these steps cannot fulfil counts as none.
    """
    document = Document(str(path))
    text = _text(path, document)
    if text is not None:
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
        _check(expect, [pipeline for _, pipeline in events], document, steps)
        if document.problems and update:
            expect = None
        elif document.problems:
            return None, document.problems
    return Case(path, text or "", data, tuple(events), None if expect is None else tuple(expect)), []


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
        document.report(
            "must be a mapping: events: with a list of change events, and expect: with what becomes of each"
        )
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
        pipeline = named or _pipeline(event, config)
        if pipeline not in steps:
            document.report(
                f"the config has no pipeline for {event.namespace}; correct ns, or set pipeline:", ("events", index)
            )
        else:
            found.append((event, pipeline))
    return found


def _pipeline(event: Event, config: Config) -> str | None:
    options = resolve(config, *event.namespace)
    target = event.change.get("to")
    if options is None and event.operation == "rename" and isinstance(target, dict):
        options = resolve(config, str(target.get("db", "")), str(target.get("coll", "")))
    return None if options is None else options.pipeline.name


def _check(expect: list[Expected], pipelines: list[str], document: Document, steps: Steps) -> None:
    """Report what no event can fulfil."""
    if len(expect) != len(pipelines):
        document.report(f"must have an entry for each of the {len(pipelines)} events, in their order", ("expect",))
        return
    for index, (expected, pipeline) in enumerate(zip(expect, pipelines, strict=True)):
        sinks = {built.name: isinstance(built.step, Sink) for built in steps[pipeline]}
        for option, name, is_sink in _named(expected):
            place = ("expect", index, option) if option == "dropped" else ("expect", index, option, name)
            if name not in sinks:
                known = f"it has {', '.join(sinks)}{did_you_mean(name, sinks)}"
                document.report(f"pipeline {pipeline!r} has no step {name!r}; {known}", place)
            elif is_sink is not None and sinks[name] is not is_sink:
                what = "sends nothing; write its body under after:" if is_sink else "is a sink; write it under sent:"
                document.report(what, place)


def _named(expected: Expected) -> Iterator[tuple[str, str, bool | None]]:
    """The steps that are named: the option, the name, and whether it must be a sink; None if it makes no difference."""
    yield from (("sent", name, True) for name in expected.sent)
    yield from (("after", name, False) for name in expected.after)
    if isinstance(expected.dropped, str):
        yield "dropped", expected.dropped, None
