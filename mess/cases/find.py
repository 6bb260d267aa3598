"""Finds case files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mess.errors import ConfigError, Problem

_SUFFIXES = (".yml", ".yaml", ".json")


def find(paths: Iterable[Path]) -> list[Path]:
    """The case files among these, and in these folders and below, in alphabetical order. Raises ConfigError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inner = [file for file in path.rglob("*") if file.suffix in _SUFFIXES and _visible(file.relative_to(path))]
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
