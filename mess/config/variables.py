"""`${NAME}`, `${NAME:-default}` and `${file:/path}` in the config's texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from mess.config.document import Document, Path

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(:-)?")
_FORMS = "write ${NAME}, ${NAME:-default} or ${file:/path}, and $${ for ${ itself"


def expand(document: Document, environ: Mapping[str, str], directory: FilePath) -> None:
    """Put the variables' values into a document's texts (not into keys); each that cannot be had is a problem.

    Texts that came from the environment or the command line are taken as they are. A relative file starts at
    `directory`; the line breaks at its end are left out, since editors and `echo` put one there.
    """
    document.data = _Expansion(document, environ, directory).value(document.data, ())


class _Expansion:
    def __init__(self, document: Document, environ: Mapping[str, str], directory: FilePath) -> None:
        self._document = document
        self._environ = environ
        self._directory = directory

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self.value(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, (*path, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value or path in self._document.origins:
            return value
        try:
            text, _ = self._text(value, 0, path, inner=False)
        except _Undefined as error:
            self._document.reject(str(error), path)
        except RecursionError:
            self._document.reject("${…} is nested too deeply", path)
        else:
            return text
        return value

    def _text(self, text: str, start: int, path: Path, *, inner: bool) -> tuple[str, int]:
        """The text from `start`, expanded, and where it ends; a default (`inner`) ends before its closing brace."""
        parts: list[str] = []
        while start < len(text):
            if text.startswith("$${", start):
                parts.append("${")
                start += 3
            elif text.startswith("${", start):
                part, start = self._variable(text, start + 2, path)
                parts.append(part)
            elif inner and text[start] == "}":
                break
            else:
                parts.append(text[start])
                start += 1
        return "".join(parts), start

    def _variable(self, text: str, start: int, path: Path) -> tuple[str, int]:
        """What stands behind a `${`, and where its closing brace ends."""
        if text.startswith("file:", start):
            end = text.find("}", start)
            if end < 0:
                raise _Undefined("${file:… is not closed with }")
            self._document.secret.add(path)
            return self._file(text[start + len("file:") : end]), end + 1
        found = _VARIABLE.match(text, start)
        if found is None:
            raise _Undefined(f"${{…}} is not understood here; {_FORMS}")
        name, end = found[1], found.end()
        value = self._environ.get(name)
        if found[2]:
            # Also for an empty one, as in a shell: compose files often hand on variables that nobody has set.
            try:
                default, end = self._text(text, end, path, inner=True)
            except _Undefined:
                if not value:
                    raise
                default, end = "", _closing(text, end)
            value = value or default
        if end >= len(text):
            # What follows is not told: it need not be a name, but may be the rest of a password with ${ in it.
            raise _Undefined(f"${{… is not closed with }}; {_FORMS}")
        if text[end] != "}":
            raise _Undefined(f"${{…}} is not understood here; {_FORMS}")
        if value is None:
            raise _Undefined(
                f"the variable {name} is not set; set it in the environment or in .env, or write ${{{name}:-default}}"
            )
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            # Bytes of the environment that are no UTF-8: nothing could be sent that holds them.
            raise _Undefined(f"the variable {name} does not hold text in UTF-8")
        self._document.secret.add(path)
        return value, end + 1

    def _file(self, name: str) -> str:
        try:
            return (self._directory / name).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise _Undefined(f"the file {name} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise _Undefined(f"the file {name} does not hold text in UTF-8") from error


def _closing(text: str, start: int) -> int:
    depth = 0
    while start < len(text):
        if text.startswith("${", start):
            depth += 1
        elif text[start] == "}":
            if not depth:
                return start
            depth -= 1
        start += 1
    return start


class _Undefined(Exception):
    pass
