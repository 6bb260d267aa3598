"""Texts with places for an event's values: `order {documentKey._id}`, `{db}.{collection}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from mess import codec
from mess.event import Event
from mess.paths import MISSING, get, parse_path

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

_OWN: dict[str, Callable[[Event], str]] = {
    "$id": lambda event: event.id,
    "db": lambda event: event.namespace.db,
    "collection": lambda event: event.namespace.coll,
    "operation": lambda event: event.operation,
}


class Template:
    """A text in which `{…}` stands for a value of the event.

    `{db}`, `{collection}`, `{operation}` and `{$id}` are the event's own, whatever its body has become; any other name
    is a path in the body (`{fullDocument.customer.name}`). `{{` and `}}` stand for braces. Values are written as in
    plain JSON, texts without quotes; one that is missing or null is written as nothing. Raises ValueError for a text
    that is no template.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str | Callable[[Event], str]] = []
        end = 0
        for found in _PART.finditer(text):
            self._parts.append(text[end : found.start()])
            self._parts.append(_part(found, text))
            end = found.end()
        self._parts.append(text[end:])
        self.constant = all(isinstance(part, str) for part in self._parts)
        """Whether it gives the same text for every event."""

    def __call__(self, event: Event) -> str:
        """The text for an event."""
        return "".join([part if part.__class__ is str else part(event) for part in self._parts])  # type: ignore[operator]


def _part(found: re.Match[str], text: str) -> str | Callable[[Event], str]:
    if found[0] in ("{{", "}}"):
        return found[0][0]
    name = found[1]
    if name is None:
        raise ValueError(f"{text!r} has a brace without its other half; write {{{{ and }}}} for braces themselves")
    if name in _OWN:
        return _OWN[name]
    path = parse_path(name)
    return lambda event: written(get(event.body, path))


def written(value: Any) -> str:
    """A value as a template writes it."""
    if value.__class__ is str:
        return str(value)
    if value is None or value is MISSING:
        return ""
    data = codec.plain(value)
    return str(orjson.loads(data)) if data[:1] == b'"' else data.decode()
