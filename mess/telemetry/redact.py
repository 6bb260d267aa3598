"""Removes secrets from everything that the process reports about itself.

It searches for the values that the config declares secret and the tokens that arrive at run time, in every spelling in
which a server may repeat them. All work is linear in the length of the text, whatever the text contains: it may come
from an endpoint, a broker or a document.
"""

from __future__ import annotations

import base64
import logging
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mess.options.secret import SHORTEST
from mess.telemetry.spellings import Undone, decoded, undone

_KEY = 16
"""The beginning of a secret, up to this length, is redacted even if the rest has been cut off by someone else."""
_LEVELS = 3  # of nested escapes, such as percent encoding within HTML within JSON
_MANY = 300
_MARGIN = 8 * 1024
_AFTER_CUT = " \t\r\n\"'`.…,;:!)]}>"
"""Characters that others put after a text that they have cut."""
_NOTE = re.compile(r"[\[(<…]|\.\.\.")
"""How their notes about a cut begin, such as `[truncated]`."""
_LONGEST_NOTE = 64
_LONGEST_ESCAPE = 33
_BROKEN = re.compile(
    r"(?:%(?:[0-9A-Fa-f]|[uU][0-9A-Fa-f]{0,3})?|\\(?:x[0-9A-Fa-f]?|[uU]\{?[0-9A-Fa-f]{0,6}|[0-3][0-7]?)?"
    r"|&#?[0-9A-Za-z]{0,31}|[^ -~])\Z"
)
"""The remains of an escape, or of a multi-byte character, that has been cut."""
_HARMLESS = (type(None), bool, int, float)

# Drivers also mention URLs that are not in the config. Both patterns look at each character once: the first cannot
# restart within what it has matched, and the second consumes what it has matched even if there is no @.
_USER_INFO = re.compile(r"://[^\s/?#\"'<>]*@")
_MONGODB = re.compile(r"mongodb(?:\+srv)?://[^\s\"'<>]*", re.IGNORECASE)


class Redactor:
    """Replaces the secrets that it has learned by `***`. Thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._counts: dict[str, int] = {}
        self._forms: dict[str, tuple[str, ...]] = {}
        self._index: _Index | None = None
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Redact these from now on."""
        for secret in secrets:
            self._counts[secret] = self._counts.get(secret, 0) + 1
            if secret not in self._forms:
                self._forms[secret] = tuple(_forms(secret))
                self._index = None

    def forget(self, *secrets: str) -> None:
        """Stop redacting these, unless they have been learned more than once."""
        for secret in secrets:
            count = self._counts.pop(secret, 0) - 1
            if count > 0:
                self._counts[secret] = count
            elif self._forms.pop(secret, None) is not None:
                self._index = None

    def __call__(self, text: str) -> str:
        """`text` without secrets, and without user and password in any URL."""
        index = self._index
        if index is None:
            index = self._index = _Index({form for forms in list(self._forms.values()) for form in forms})
        if index.needles and len(text) >= SHORTEST:
            text = _without(text, list(index.places(text)))
        if "://" in text:
            text = _MONGODB.sub(_without_user, text)
            text = _USER_INFO.sub("://***@", text)
        return text


class RedactedFormatter(logging.Formatter):
    """Formats log records written before, or without, `mess.telemetry.logging.configure`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, without secrets."""
        return redact(super().format(record))


class _Index:
    """The texts to search for, indexed by their beginnings."""

    def __init__(self, needles: Iterable[str]) -> None:
        self.needles = tuple(needles)
        self._sorted = sorted(self.needles)
        self._by_beginning: dict[str, list[str]] = {}
        for needle in self.needles:
            self._by_beginning.setdefault(needle[:SHORTEST], []).append(needle)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """The places in a text where one of the secrets occurs, in any spelling."""
        levels: list[Undone] = []
        while True:
            for start, end in self._found(text):
                for level in reversed(levels):
                    start, end = level.place(start, end)
                yield start, end
            next_level = undone(text) if len(levels) < _LEVELS else None
            if next_level is None:
                return
            levels.append(next_level)
            text = next_level.text

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        candidates = self._candidates(text)
        if not candidates:
            return
        for needle in candidates:
            key = needle[:_KEY]
            at = text.find(key)
            while at >= 0:
                end = at + (len(needle) if text.startswith(needle, at) else _alike(needle, text, at, len(key)))
                yield at, end
                at = text.find(key, end)
        # At the end, also match a beginning whose rest was cut off.
        for cut, end in _cuts(text):
            for at in range(max(0, cut - _KEY), cut - SHORTEST + 1):
                if text[at : at + SHORTEST] in self._by_beginning and self._begins_one(text[at:cut]):
                    yield at, end

    def _begins_one(self, beginning: str) -> bool:
        place = bisect_left(self._sorted, beginning)
        return place < len(self._sorted) and self._sorted[place].startswith(beginning)

    def _candidates(self, text: str) -> list[str]:
        """The secrets whose beginnings occur in the text."""
        # If there are few, searching for each is faster than looking at each character.
        if len(self._by_beginning) < _MANY and 2 * len(text) > len(self._by_beginning):
            found = [beginning for beginning in self._by_beginning if beginning in text]
        else:
            beginnings = {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)}
            found = [*(beginnings & self._by_beginning.keys())]
        return [needle for beginning in found for needle in self._by_beginning[beginning]]


redact = Redactor()
"""The process's own redactor, to which `mess.config.load` adds every config's secrets."""


def learn(*secrets: str) -> None:
    """Redact these in everything the process reports from now on, such as tokens that arrive at run time."""
    redact.learn(*secrets)


def beginning(text: str, most: int) -> str:
    """The first `most` characters of `text` without secrets; the cut leaves no part of one."""
    return redact(text[: most + _MARGIN])[:most]


def fits(text: str, most: int) -> bool:
    """Whether a text has at most `most` bytes in UTF-8."""
    return len(text) <= most and (text.isascii() or len(text.encode("utf-8", "replace")) <= most)


def shown(text: str, most: int) -> str:
    """`text` without secrets, cut to about `most` bytes of UTF-8, followed by a note of its original length."""
    if fits(text, most):
        return redact(text)
    # Redact first, so that the cut leaves no part of a secret; but not the whole text, since it may be huge.
    clean = redact(text[: most + _MARGIN])
    data = clean.encode("utf-8", "replace")
    if len(data) <= most and len(text) <= most + _MARGIN:
        return clean
    return f"{data[:most].decode('utf-8', 'ignore')}… (cut: {len(text):,} characters)"


def redacted(value: Any) -> Any:
    """A redacted copy of `value`, made of JSON's types; other types become their `str`."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, _HARMLESS):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseException):
        return compact(value)
    return redact(str(value))


def compact(error: BaseException) -> str:
    """An error as one text without secrets: its class and message, shortened if a driver writes pages."""
    text = shown(str(error), 2000)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _forms(secret: str) -> Iterator[str]:
    """The forms of a secret in a text whose escapes have been decoded."""
    for plain in (secret, secret.strip()):
        for _ in range(_LEVELS):
            yield from _written(plain)
            if (plain := decoded(before := plain)) == before:
                break


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """The places where a text may have been cut, each with the end of the remains of an escape there."""
    last = len(text.rstrip(_AFTER_CUT))
    first = max(0, last - _LONGEST_NOTE)
    for note in (last, *[found.start() for found in _NOTE.finditer(text, first, last)]):
        end = first + len(text[first:note].rstrip(_AFTER_CUT))
        yield end, end
        cut = end
        while cut > first and (broken := _BROKEN.search(text, max(first, cut - _LONGEST_ESCAPE), cut)):
            yield (cut := broken.start()), end


def _written(plain: str) -> Iterator[str]:
    forms = [plain, plain.replace(" ", "+")]
    if not plain.isascii():
        data = plain.encode("utf-8", "replace")
        # Decoded with the wrong encoding, or encoded in one that lacks these characters.
        forms += [data.decode("latin-1"), data.decode("cp1252", "replace"), plain.encode("ascii", "replace").decode()]
        forms += [plain.encode("latin-1", "replace").decode("utf-8", "replace")]
    if len(plain) >= SHORTEST:
        forms += _base64(plain.encode("utf-8", "replace"))
    yield from (form for form in forms if len(form) >= SHORTEST)


def _base64(data: bytes) -> Iterator[str]:
    """The base64 characters that occur in the encoding of any text that contains `data`: those that depend on nothing
    else."""
    for before, mixed in enumerate((0, 2, 3)):
        text = base64.b64encode(bytes(before) + data).decode()
        inner = text[mixed : text.index("=") - 1] if "=" in text else text[mixed:]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


def _alike(needle: str, text: str, at: int, known: int) -> int:
    """How many characters of `text` from `at` on match the beginning of `needle`; at least `known` do."""
    most = min(len(needle), len(text) - at)
    while known < most and text[at + known] == needle[known]:
        known += 1
    return known


def _without(text: str, places: list[tuple[int, int]]) -> str:
    if not places:
        return text
    parts: list[str] = []
    done = 0
    open_start, open_end = -1, -1
    for start, end in [*sorted(places), (len(text), len(text))]:
        if start <= open_end and start < len(text):
            open_end = max(open_end, end)
            continue
        if open_end >= 0:
            parts += (text[done:open_start], "***")
            done = open_end
        open_start, open_end = start, end
    return "".join([*parts, text[done:]])


def _without_user(url: re.Match[str]) -> str:
    scheme, _, rest = url[0].partition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}://***@{host}" if at else url[0]
