"""Endpoint URLs with placeholders in path and query: `https://example.com/hooks/{db}/{collection}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field
from yarl import URL

from mess.errors import Refused
from mess.event import Event
from mess.formats.template import Template
from mess.options.secret import Secret, of_http_url
from mess.steps.http.url import http_url

LONGEST = 8000
"""The maximum length of a URL in characters. Every server should accept this many (RFC 9110, 4.1). Those that do not
accept more often fail in ways that look like an outage, such as a broken connection."""

_DOT = "%2E"
_SHORT = 200  # characters
_TOO_LONG = f"longer than {LONGEST:,} characters, which many servers do not accept"


class UrlTemplate:
    """A URL whose path and query may contain placeholders `{…}` for values of the event, as in
    `mess.formats.template.Template`.

    A value in the path is percent-encoded so that it cannot leave its segment, one in the query so that it cannot leave
    its parameter.

    `constant` is whether all events go to the same URL, which then is `url`. `origin` is the part that determines where
    to connect, the same for every event: scheme, host and port, with user and password if given.

    Raises ValueError for a text that is not an http or https URL, is longer than `LONGEST`, or has a placeholder
    elsewhere.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(_TOO_LONG)
        self._template = Template(text, required="endpoint")
        self.constant = self._template.constant
        mark = _mark(text)
        marked = mark.join(self._template.texts)
        scheme, _, rest = marked.partition("://")
        if mark in scheme or mark in _authority(rest):
            raise ValueError(
                "placeholders are allowed only in the path and the query, not in the scheme, host, port, user or "
                "password; write it like https://example.com/hooks/{db}/{collection}"
            )
        http_url(marked)
        url = URL(marked)
        self.origin = url.origin().with_user(url.user).with_password(url.password)
        self._base = str(url.origin())
        # Keep the constant parts as yarl writes them: dots resolved, and escaped where necessary.
        self._segments = [tuple(segment.split(mark)) for segment in url.raw_path.split("/")]
        self._query = tuple(url.raw_query_string.split(mark))
        if sum(len(parts) - 1 for parts in (*self._segments, self._query)) != len(self._template.placeholders):
            raise ValueError("a placeholder after # or before /../ is never sent; remove it")
        if len(self._base) + len(url.raw_path_qs) - len(mark) * len(self._template.placeholders) > LONGEST:
            raise ValueError(_TOO_LONG)
        self.url = self._made(()) if self.constant else None
        self._recent = lru_cache(maxsize=1024)(self._made)

    @property
    def constant_segments(self) -> list[str]:
        """The constant segments of the path, percent-encoded as they are sent, without empty ones."""
        return [part for parts in self._segments for part in parts if part]

    @property
    def constant_query(self) -> list[str]:
        """The constant text of the query between its placeholders, percent-encoded as it is sent, without empty
        parts."""
        return [part for part in self._query if part]

    def __call__(self, event: Event) -> URL:
        """The URL for an event, without user and password.

        Raises Refused, with the reason, if a value is missing, a segment would be empty, or the URL would be too long.
        """
        if self.url is not None:
            return self.url
        values = tuple(self._template.values(event))
        try:
            # Most endpoints depend on a few short values, such as collection names.
            return self._recent(values) if sum(map(len, values)) <= _SHORT else self._made(values)
        except UnicodeEncodeError as error:
            raise Refused("endpoint: a value in it is not valid Unicode", local=True) from error

    def _made(self, texts: tuple[str, ...]) -> URL:
        if sum(map(len, texts)) > LONGEST:  # a value may have megabytes, which quoting would triple
            raise _too_long()
        values = iter([quote(text, safe="") for text in texts])
        path = "/".join([parts[0] if len(parts) == 1 else _segment(_filled(parts, values)) for parts in self._segments])
        query = _filled(self._query, values)
        url = f"{self._base}{path}{query and '?'}{query}"
        if len(url) > LONGEST:
            raise _too_long()
        return URL(url, encoded=True)


def _too_long() -> Refused:
    return Refused(
        f"endpoint: with this event's values, the URL is longer than {LONGEST:,} characters, which many servers do "
        f"not accept",
        local=True,
    )


def _mark(text: str) -> str:
    """A short text that does not occur in `text`, escaped or not, to stand for its placeholders."""
    used = set(re.findall(r"placeholder([0-9]+)x", unquote(text).lower()))
    return next(f"placeholder{number}x" for number in count() if str(number) not in used)


def _authority(rest: str) -> str:
    for end in "/?#\\":
        rest = rest.partition(end)[0]
    return rest


def _filled(parts: Sequence[str], values: Iterator[str]) -> str:
    return parts[0] + "".join([next(values) + part for part in parts[1:]])


def _segment(text: str) -> str:
    if not text:
        raise Refused("endpoint: a segment of its path would be empty; give its placeholder a default", local=True)
    # Unescaped, these would change the path; an escaped dot counts as a dot (WHATWG URL Standard).
    dots = text.replace(_DOT, ".").replace(_DOT.lower(), ".")
    return _DOT * len(dots) if dots in (".", "..") else text


def _checked(value: str) -> str:
    UrlTemplate(value)
    return value


HttpUrlTemplate = Annotated[str, AfterValidator(_checked), Field(repr=False), Secret(of_http_url)]
"""An http or https URL with placeholders, which may contain a secret."""
