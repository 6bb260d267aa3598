"""Undoing the escapes of URLs, HTML, JSON and Python, so that a value is found however a server writes it."""

from __future__ import annotations

import re
from bisect import bisect_right
from html.entities import html5

_HIGH = r"[89A-Fa-f][0-9A-Fa-f]"
# Each alternative begins with a character of its own, by which Python's engine skips what is no escape.
_ESCAPE = re.compile(
    rf"%(?:[0-7][0-9A-Fa-f]|{_HIGH}(?:%{_HIGH})*)"
    rf"|\\(?:x[0-7][0-9A-Fa-f]|x{_HIGH}(?:\\x{_HIGH})*|u[dD]{_HIGH}[0-9A-Fa-f](?:\\u[dD]{_HIGH}[0-9A-Fa-f])*"
    r"|u[0-9A-Fa-f]{4}|[^a-zA-Z0-9\s]|[nrt])"
    r"|&(?:#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6})|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|\x00\x00*"
)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def decoded(text: str) -> str:
    """`text` with one level of escapes undone: `%2f`, `\\u003c`, `\\/`, `\\xc3\\xa9`, `&lt;`, `&#x2F;`. Null
    characters, which other encodings leave between letters, are left out."""
    return _ESCAPE.sub(_character, text)


def undone(text: str) -> Undone | None:
    """`text` with one level of escapes undone, if it holds any."""
    if _ESCAPE.search(text) is None:
        return None
    level = Undone(text)
    return None if level.text == text else level


class Undone:
    """A text with one level of escapes undone; `place` finds in the original what stands in `text`."""

    def __init__(self, original: str) -> None:
        self.text = decoded(original)
        self._original = original
        self._places: list[tuple[int, int, int, int]] | None = None
        self._starts: list[int] = []

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the characters from `start` to `end` come from; a whole escape at the least."""
        if self._places is None:
            self._places = list(_places(self._original))
            self._starts = [first for first, *_ in self._places]
        return self._position(start, 2), self._position(end - 1, 3, after=True)

    def _position(self, at: int, side: int, *, after: bool = False) -> int:
        index = bisect_right(self._starts, at) - 1
        if self._places is None or index < 0:
            return at + after
        first, end, _, original_end = self._places[index]
        return self._places[index][side] if first <= at < end else original_end + at + after - end


def _places(original: str) -> list[tuple[int, int, int, int]]:
    """Of each escape, where its characters stand in the decoded text, and where it stands in the original."""
    found: list[tuple[int, int, int, int]] = []
    shift = 0
    for escape in _ESCAPE.finditer(original):
        start = escape.start() - shift
        size = len(_character(escape))
        found.append((start, start + size, escape.start(), escape.end()))
        shift += escape.end() - escape.start() - size
    return found


def _character(escape: re.Match[str]) -> str:
    text = escape[0]
    if text[0] == "%":
        return _from_bytes(text.replace("%", ""))
    if text[0] == "&":
        return _entity(text)
    if text[0] == "\0":
        return ""
    if text[1] == "x":
        return _from_bytes(text.replace("\\x", ""))
    if text[1] == "u":
        units = bytes.fromhex(text.replace("\\u", ""))
        return units.decode("utf-16-be", "replace")
    return _CONTROLS.get(text[1], text[1])


def _from_bytes(digits: str) -> str:
    data = bytes.fromhex(digits)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _entity(text: str) -> str:
    if text[1] != "#":
        return html5.get(text[1:], text)
    code = int(text[3:-1], 16) if text[2] in "xX" else int(text[2:-1])
    return chr(code) if code <= 0x10FFFF else text
