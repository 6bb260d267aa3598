"""A config file as a plain tree that remembers where each part of it was written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mess.errors import Problem

MAX_DEPTH = 64
MAX_NODES = 100_000

Path = tuple[str | int, ...]
"""From the root to a part: a mapping's key or a list's index at each step."""

_PLAIN = re.compile(r'[^\s.\[\]"]+')


def show(path: Path) -> str:
    """A path as users read it: `databases.shop.pipeline[1].config`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


class Source(NamedTuple):
    """A value that came from a variable or a file, and the option that holds it, as a whole or as a part."""

    path: Path
    value: str
    is_file: bool
    is_whole: bool


@dataclass
class Document:
    """What a config file says.

    `data` is the tree, None when the text cannot be read at all. `keys` and `values` hold the line of each key and of
    each value, `origins` where a value came from when it was not the file. `unusable` are the parts that a problem has
    been reported for, so that nothing more is said of them; `secret` are those that came from a variable or the
    environment, so that they are never shown, and `sources` what these were.
    """

    file: str
    data: Any = None
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unusable: set[Path] = field(default_factory=set)
    secret: set[Path] = field(default_factory=set)
    sources: list[Source] = field(default_factory=list)
    _above_secret: set[Path] = field(default_factory=set, repr=False)
    _counted: int = 0

    def report(self, message: str, path: Path = (), line: int | None = None) -> None:
        """Note a mistake at a path, unless one has been noted there or above."""
        if not self.is_unusable(path):
            self.problems.append(self.problem(message, path, line))

    def reject(self, message: str, path: Path, line: int | None = None) -> None:
        """Note a mistake at a path, and that its value is of no further use."""
        self.report(message, path, line)
        self.unusable.add(path)

    def warn(self, message: str, path: Path = ()) -> None:
        """Note what is legal but likely wrong."""
        self.warnings.append(self.problem(message, path))

    def problem(self, message: str, path: Path = (), line: int | None = None) -> Problem:
        """A mistake at a path, with the place where that was written or, where it was not, what is nearest above."""
        for length in range(len(path), 0, -1):
            if (origin := self.origins.get(path[:length])) is not None:
                return Problem(message, show(path), origin)
            if line is None:
                line = self.keys.get(path[:length], self.values.get(path[:length]))
        if not path and line is None:
            line = self.values.get(path)
        return Problem(message, show(path), self.file, line)

    def is_unusable(self, path: Path) -> bool:
        """Whether a mistake has been noted for a path's value or one that it lies in."""
        return any(path[:length] in self.unusable for length in range(len(path) + 1))

    def is_secret(self, path: Path) -> bool:
        """Whether a value, or a part of it, came from a variable or the environment."""
        if self._counted != len(self.secret):
            self._above_secret = {inner[:length] for inner in self.secret for length in range(len(inner) + 1)}
            self._counted = len(self.secret)
        return path in self._above_secret


def by_place(problem: Problem) -> tuple[str, int]:
    """Sorts problems as their places follow one another."""
    return problem.file or "", problem.line or 0
