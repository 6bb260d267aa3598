"""Texts with places for an event's values: `order {documentKey._id}`, `{db}.{collection}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import orjson
from bson import Int64, ObjectId
from pydantic import AfterValidator

from mess import codec
from mess.event import Event
from mess.paths import MISSING, get, parse_path

Read = Callable[[Event], Any]
"""Gives a value of an event."""

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

_OWN: dict[str, Callable[[Event], str]] = {
    "$id": lambda event: event.id,
    "db": lambda event: event.namespace.db,
    "collection": lambda event: event.namespace.coll,
    "operation": lambda event: event.operation,
}
# What is written as Python writes it; a shortcut for the most frequent types.
_STRAIGHT = frozenset({str, int, Int64, ObjectId})


class Template:
    """A text in which `{…}` stands for a value of the event.

    `{db}`, `{collection}`, `{operation}` and `{$id}` are the event's own, whatever its body has become; any other name
    is a path in the body (`{fullDocument.customer.name}`). `{{` and `}}` stand for braces. Values are written as in
    plain JSON, texts without quotes; one that is missing or null is written as nothing. Raises ValueError for a text
    that is no template.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._reads: list[Callable[[Event], str]] = []
        form: list[str] = []
        end = 0
        for found in _PART.finditer(text):
            form.append(_literal(text[end : found.start()]))
            if found[0] in ("{{", "}}"):
                form.append(found[0][0])
            else:
                form.append("%s")
                self._reads.append(_place(found[1], text))
            end = found.end()
        form.append(_literal(text[end:]))
        self._form = "".join(form)
        self.constant = not self._reads
        """Whether it gives the same text for every event."""

    def __call__(self, event: Event) -> str:
        """The text for an event. Raises TypeError where the body holds at such a place what no JSON can hold."""
        return self._form % tuple([read(event) for read in self._reads])


def _checked(text: str) -> str:
    Template(text)
    return text


TemplateText = Annotated[str, AfterValidator(_checked)]
"""An option whose text is a template."""


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _place(name: str | None, text: str) -> Callable[[Event], str]:
    if name is None:
        raise ValueError(f"{text!r} has a brace without its other half; write {{{{ and }}}} for braces themselves")
    if name in _OWN:
        return _OWN[name]
    read = reader(name)
    return lambda event: written(read(event))


def reader(text: str, default: Any = MISSING) -> Read:
    """What reads a path in an event's body, `default` where it leads nowhere; `$id` stands for the event's id.

    Raises ValueError for a text that is no path.
    """
    if text == "$id":
        return _OWN["$id"]
    path = parse_path(text)
    if len(path) == 1:
        first = path[0]
        return lambda event: event.body.get(first, default)
    if len(path) == 2:
        # By far the most frequent shape (fullDocument.x, documentKey._id), and this is the hot path.
        first, second = path

        def read(event: Event) -> Any:
            inner = event.body.get(first)
            if inner.__class__ is dict:
                return inner.get(second, default)
            value = get(inner, (second,))
            return default if value is MISSING else value

        return read

    def read_any(event: Event) -> Any:
        value = get(event.body, path)
        return default if value is MISSING else value

    return read_any


def written(value: Any) -> str:
    """A value as a template writes it. Raises TypeError for one that no JSON can hold."""
    if value.__class__ in _STRAIGHT:
        return str(value)
    if value is None or value is MISSING:
        return ""
    data = codec.plain(value)
    if data[:1] == b'"':
        return str(orjson.loads(data))
    return "" if data == b"null" else data.decode()  # null is what JSON has for NaN and infinity


def document_key(event: Event) -> str | None:
    """The document's `_id` as a template writes it; None for an event of no document."""
    if event.key is None:
        return None
    value = event.key.get("_id")
    return str(value) if value.__class__ is ObjectId else written(value)
