"""Expands `${NAME}`, `${NAME:-default}` and `${file:/path}` in the config's texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from mess.config.document import FILE, Document, Path, Source
from mess.files import read_bounded

MAX_FILE_BYTES = 1024 * 1024
"""The largest file that `${file:…}` reads."""
_MOST_CHARACTERS = 32 * 1024 * 1024
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(:-)?")
_SPECIAL = re.compile(r"\$\$?\{|\}")
_FORMS = "write ${NAME}, ${NAME:-default} or ${file:/path}, and $${ for ${ itself"
_UNCLOSED = f"${{… is not closed with }}; {_FORMS}"


def expand(document: Document, environ: Mapping[str, str], directory: FilePath) -> set[FilePath]:
    """Expand variables in a document's texts (not in keys); report each one that is unavailable. Returns the files that
    they name.

    Texts that came from the environment or the command line are not expanded. A relative file path starts at
    `directory`. Trailing line breaks of a file are removed, since editors and `echo` add one.
    """
    expansion = _Expansion(document, environ, directory)
    document.data = expansion.value(document.data, ())
    return expansion.files


@dataclass(frozen=True, slots=True)
class _Wrong:
    """The reason why a text cannot be expanded."""

    reason: str


class _Expansion:
    """Reads each text once from beginning to end, even if it contains mistakes."""

    def __init__(self, document: Document, environ: Mapping[str, str], directory: FilePath) -> None:
        self._document = document
        self._environ = environ
        self._directory = directory
        self.files: set[FilePath] = set()
        self._found: list[tuple[str, str]] = []
        self._room = _MOST_CHARACTERS

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self.value(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, (*path, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value or path in self._document.origins:
            return value
        self._found = []
        try:
            text, _ = self._text(value, 0, inner=False)
        except RecursionError:
            self._document.reject("${…} is nested too deeply", path)
            return value
        if self._found:
            self._document.secret.add(path)
        for name, found in self._found:
            self._document.sources.append(Source(path=path, name=name, value=found, is_whole=found == text))
        if isinstance(text, _Wrong):
            self._document.reject(text.reason, path)
            return value
        self._room -= len(text)
        if self._room < 0:
            self._document.reject("the variables' values make the config larger than 32 MiB", path)
            return value
        return text

    def _text(self, text: str, start: int, *, inner: bool) -> tuple[str | _Wrong, int]:
        """Expand the text from `start`; return the result, or the first mistake in it, and where it ends.

        A default (`inner`) ends before its closing brace.
        """
        parts: list[str] = []
        wrong: _Wrong | None = None
        while (special := _SPECIAL.search(text, start)) is not None:
            parts.append(text[start : special.start()])
            start = special.end()
            if special[0] == "$${":
                parts.append("${")
            elif special[0] == "${":
                part, start = self._variable(text, start)
                if isinstance(part, str):
                    parts.append(part)
                else:
                    wrong = wrong or part
            elif inner:
                return wrong or "".join(parts), special.start()
            else:
                parts.append("}")
        parts.append(text[start:])
        return wrong or "".join(parts), len(text)

    def _variable(self, text: str, start: int) -> tuple[str | _Wrong, int]:
        """Expand what follows a `${`; return the result, or what is wrong with it, and where its closing brace ends."""
        if text.startswith(FILE, start):
            end = text.find("}", start)
            if end < 0:
                return _Wrong("${file:… is not closed with }"), len(text)
            return self._noted(text[start:end], self._file(text[start + len(FILE) : end])), end + 1
        found = _VARIABLE.match(text, start)
        value = None if found is None else self._environ.get(found[1])
        default, end = self._text(text, start if found is None else found.end(), inner=True)
        if found is not None and found[2]:
            # As in a shell, this includes an empty one: compose files often pass on variables that nobody set.
            if not value and isinstance(default, _Wrong):
                return default, end + 1
            value = value or str(default)
        elif found is None or end != found.end():
            return _Wrong(f"${{…}} is not valid here; {_FORMS}" if end < len(text) else _UNCLOSED), end + 1
        if end >= len(text):
            # Do not quote what follows. It may be the rest of a password that contains ${, not a name.
            return _Wrong(_UNCLOSED), end
        if value is None:
            wrong = f"the variable {found[1]} is not set; set it in the environment or in .env"
            return _Wrong(f"{wrong}, or write ${{{found[1]}:-default}}"), end + 1
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            # Bytes of the environment that are not UTF-8 could not be sent.
            return _Wrong(f"the variable {found[1]} is not UTF-8 text"), end + 1
        return self._noted(found[1], value), end + 1

    def _noted(self, name: str, value: str | _Wrong) -> str | _Wrong:
        if isinstance(value, str):
            self._found.append((name, value))
        return value

    def _file(self, name: str) -> str | _Wrong:
        path = self._directory / name
        self.files.add(path)
        try:
            return read_bounded(path, MAX_FILE_BYTES).decode().rstrip("\r\n")
        except OSError as error:
            return _Wrong(f"the file {name} cannot be read: {error.strerror}")
        except ValueError:
            return _Wrong(f"the file {name} is not UTF-8 text")
