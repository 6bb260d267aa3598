"""A config file as a plain tree that remembers where each part was written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mess.errors import Problem

MAX_DEPTH = 64
MAX_NODES = 100_000

FILE = "file:"
"""How the name of a file begins in `${file:/path}`."""

Path = tuple[str | int, ...]
"""The path from the root to a node: a mapping key or list index at each level."""

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


class Origin(NamedTuple):
    """What set an option in place of the file: an environment variable, or the command line."""

    variable: str | None

    def __str__(self) -> str:
        return "command line" if self.variable is None else f"environment variable {self.variable}"


class Source(NamedTuple):
    """A value that came from a variable or a file, and the option that contains it.

    `name` is what `${…}` holds, without a default: `NAME`, or `file:/path`.
    """

    path: Path
    name: str
    value: str
    is_whole: bool

    @property
    def is_file(self) -> bool:
        """Whether the value is the content of a file."""
        return self.name.startswith(FILE)


@dataclass
class Document:
    """The contents of a config file.

    `data` is the tree, or None if the text cannot be parsed. `keys` and `values` hold the line of each key and value.
    `origins` says where a value came from if not from the file. `unusable` holds the paths that already have a problem,
    so that no further problems are reported there. `secret` holds the paths whose values came from a variable or the
    environment and must never be shown; `sources` holds those values.
    """

    file: str
    data: Any = None
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unusable: set[Path] = field(default_factory=set)
    secret: set[Path] = field(default_factory=set)
    sources: list[Source] = field(default_factory=list)
    _above_secret: set[Path] = field(default_factory=set, repr=False)
    _counted: int = 0

    def report(self, message: str, path: Path = (), line: int | None = None) -> None:
        """Report a mistake at a path, unless one has been reported there or above."""
        if not self.is_unusable(path):
            self.problems.append(self.problem(message, path, line))

    def reject(self, message: str, path: Path, line: int | None = None) -> None:
        """Report a mistake at a path and mark its value as unusable."""
        self.report(message, path, line)
        self.unusable.add(path)

    def warn(self, message: str, path: Path = ()) -> None:
        """Warn of something that is legal but probably wrong."""
        self.warnings.append(self.problem(message, path))

    def problem(self, message: str, path: Path = (), line: int | None = None) -> Problem:
        """A mistake at a path, with its line, or the line of the nearest parent that was written."""
        origin, nearest = self.place(path)
        if origin is not None:
            return Problem(message, show(path), str(origin))
        return Problem(message=message, path=show(path), file=self.file, line=nearest if line is None else line)

    def place(self, path: Path) -> tuple[Origin | None, int | None]:
        """What set a value in place of the file, and the line of the value, or of the nearest parent that was
        written."""
        line = None
        for length in range(len(path), 0, -1):
            if (origin := self.origins.get(path[:length])) is not None:
                return origin, None
            if line is None:
                line = self.keys.get(path[:length], self.values.get(path[:length]))
        return None, self.values.get(()) if line is None and not path else line

    def is_unusable(self, path: Path) -> bool:
        """Whether a mistake has been reported for this path or one of its parents."""
        return any(path[:length] in self.unusable for length in range(len(path) + 1))

    def is_secret(self, path: Path) -> bool:
        """Whether any part of a value came from a variable or the environment."""
        if self._counted != len(self.secret):
            self._above_secret = {inner[:length] for inner in self.secret for length in range(len(inner) + 1)}
            self._counted = len(self.secret)
        return path in self._above_secret


def by_place(problem: Problem) -> tuple[str, int]:
    """Sort key that puts problems in the order of their places."""
    return problem.file or "", problem.line or 0
