"""Writes real events as cases, with what the config makes of them now."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from bson import Int64, json_util

from mess.cases.case import case_of
from mess.cases.drop import Drops, fields_of
from mess.cases.run import run
from mess.cases.write import as_yaml, text_with
from mess.config.load import Loaded
from mess.errors import ConfigError
from mess.event import Namespace
from mess.files import PRIVATE
from mess.relay.build import BuiltStep, Steps

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 80
_MAX_CHARACTERS = 1024 * 1024
_INT32 = 2**31


@dataclass(frozen=True)
class Sample:
    """A real event. `about` is what a dead letter knows of it besides the change."""

    id: str
    namespace: Namespace
    operation: str
    change: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """What became of a sample. If its file existed, that was left as it was. `reason` says why it `failed`."""

    path: Path
    result: Literal["recorded", "exists", "failed"]
    reason: str = ""


class Recorder:
    """Writes cases into a folder, which is made with the first of them. `steps` are the config's, and `opened`.

    `fields` collects the fields of documents, as paths, whose values are in the cases; `recorded` counts the cases.
    """

    def __init__(self, loaded: Loaded, steps: Steps, folder: Path, drops: Drops) -> None:
        self._loaded = loaded
        self._steps = steps
        self._folder = folder
        self._drops = drops
        self.fields: set[str] = set()
        self.recorded = 0

    def every_step(self) -> Iterator[BuiltStep]:
        """The steps that have to be open."""
        return chain.from_iterable(self._steps.values())

    async def record(self, sample: Sample) -> Recorded:
        """Write the case for an event. Raises ConfigError if the folder cannot be written to."""
        path = self._folder / file_name(sample)
        if _is_there(path):
            return Recorded(path, "exists")
        # The resume token holds the document's key, and is of no use to a case.
        change = self._drops.apply({name: value for name, value in sample.change.items() if name != "_id"})
        event = extended({**sample.about, "event": change} if sample.about else change)
        if len(json.dumps(event)) > _MAX_CHARACTERS:
            return Recorded(path, "failed", f"it is larger than {_MAX_CHARACTERS // 1024**2} MiB, too large for a case")
        try:
            text = await self._text(path, event)
        except ConfigError as error:
            return Recorded(path, "failed", error.problems[0].message)
        if not _write(path, text):
            return Recorded(path, "exists")
        self.fields.update(fields_of(change))
        self.recorded += 1
        return Recorded(path, "recorded")

    async def _text(self, path: Path, event: Mapping[str, Any]) -> str:
        text = as_yaml({"events": [event]})
        case, problems = case_of(text, path, self._loaded, steps=self._steps)
        if case is None:
            raise ConfigError(problems)
        result = await run(case, self._steps, self._loaded.config)
        return text_with(case, result.outcomes)


def file_name(sample: Sample) -> str:
    """The name of a sample's file: always the same, and without anything that a shell or a file system may take for
    something else."""
    about = _UNSAFE.sub("_", f"{str(sample.namespace)[:_LONGEST]}-{sample.operation[:_LONGEST]}")
    return f"{about.strip('._-') or 'event'}-{re.sub('[^a-z0-9]', '', sample.id.lower())[-8:]}.yml"


def extended(value: Any) -> Any:
    """A value as relaxed Extended JSON, which keeps small numbers of 64 bits apart from those of 32."""
    return json.loads(json_util.dumps(_with_int64(value), json_options=json_util.RELAXED_JSON_OPTIONS))


def _with_int64(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_int64(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_int64(each) for each in value]
    return {"$numberLong": str(int(value))} if isinstance(value, Int64) and -_INT32 <= value < _INT32 else value


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _write(path: Path, text: str) -> bool:
    """Make a file with this text, which only its owner can read; False if there is one of this name. Raises
    ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, PRIVATE)) as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return True
