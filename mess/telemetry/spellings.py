"""Decodes the escapes of URLs, HTML, JSON and Python, so that a value is found however a server writes it."""

from __future__ import annotations

import re
from bisect import bisect_right
from html.entities import html5

_HIGH = r"[89A-Fa-f][0-9A-Fa-f]"
# Each alternative starts with a distinct character, which lets Python's engine skip text without escapes.
_UNITS = rf"[uU](?:[dD]{_HIGH}[0-9A-Fa-f](?:[%\\][uU][dD]{_HIGH}[0-9A-Fa-f])*|[0-9A-Fa-f]{{4}})"
_ESCAPE = re.compile(
    rf"%(?:[0-7][0-9A-Fa-f]|{_HIGH}(?:%{_HIGH})*|{_UNITS})"
    rf"|\\(?:x[0-7][0-9A-Fa-f]|x{_HIGH}(?:\\x{_HIGH})*|{_UNITS}|u\{{[0-9A-Fa-f]{{1,6}}\}}"
    r"|[01][0-7][0-7]|[23][0-7][0-7](?:\\[23][0-7][0-7])*|[^a-zA-Z0-9\s]|[nrt])"
    # Browsers accept a number without a semicolon; at the end of a text, more digits may have been cut off.
    r"|&(?:#(?:[0-9]{1,7}+|[xX][0-9A-Fa-f]{1,6}+)(?:;|(?!\Z))|[A-Za-z][A-Za-z0-9]{1,31};)"
    r"|[\r\n]+[ \t]*"
    r"|\x00\x00*"
)
_NO_DIGIT = re.compile(r"[%\\xuU]+")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def decoded(text: str) -> str:
    r"""`text` with one level of escapes decoded: `%2f`, `\u003c`, `\/`, `\xc3\xa9`, `&lt;`, `&#x2F;`.

    Removes null characters, which other encodings leave between letters, and line breaks with the blanks after them,
    which fold long lines.
    """
    return _ESCAPE.sub(_character, text)


def undone(text: str) -> Undone | None:
    r"""`text` with one level of escapes decoded; None if it contains none."""
    if _ESCAPE.search(text) is None:
        return None
    level = Undone(text)
    return None if level.text == text else level


class Undone:
    """A text with one level of escapes decoded; `place` maps positions in `text` to the original."""

    def __init__(self, original: str) -> None:
        self.text = decoded(original)
        self._original = original
        self._places: list[tuple[int, int, int, int]] | None = None
        self._starts: list[int] = []

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The range in the original that the characters from `start` to `end` come from; it always includes whole
        escapes."""
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
    """For each escape: the position of its characters in the decoded text, and its position in the original."""
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
    if text[0] in "\0\r\n":
        return ""
    if text[0] == "&":
        return _entity(text)
    if text[1] in "uU":
        if text[2] == "{":
            return _from_number(int(text[3:-1], 16), text)
        return bytes.fromhex(_NO_DIGIT.sub("", text)).decode("utf-16-be", "replace")
    if text[1] in "0123" and text[0] == "\\":
        return _from_bytes(bytes(int(byte, 8) for byte in text[1:].split("\\")))
    if text[0] == "%" or text[1] == "x":
        return _from_bytes(bytes.fromhex(_NO_DIGIT.sub("", text)))
    return _CONTROLS.get(text[1], text[1])


def _from_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _entity(text: str) -> str:
    if text[1] != "#":
        return html5.get(text[1:], text)
    digits = text[2:].rstrip(";")
    return _from_number(int(digits[1:], 16) if digits[0] in "xX" else int(digits), text)


def _from_number(code: int, text: str) -> str:
    return chr(code) if code <= 0x10FFFF else text
