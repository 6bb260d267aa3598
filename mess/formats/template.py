"""Texts with placeholders for values of an event: `order {documentKey._id}`, `{db}.{collection}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import orjson
from bson import Int64, ObjectId
from pydantic import AfterValidator

from mess.errors import Refused
from mess.event import Event
from mess.formats import bson_json
from mess.formats.paths import MISSING, get, parse_path

Read = Callable[[Event], Any]
"""Reads a value of an event."""

WHOLE_DATABASE: Final = "_database"
"""The value of `{collection}` in required texts if the event has no collection (`dropDatabase`)."""

OWN: Final[dict[str, Callable[[Event], str]]] = {
    "$id": lambda event: event.id,
    "db": lambda event: event.namespace.db,
    "collection": lambda event: event.namespace.coll,
    "operation": lambda event: event.operation,
}
"""The placeholders that do not depend on the body."""
# Types that are written as Python writes them; a shortcut for the most frequent ones.
_STRAIGHT = frozenset({str, int, Int64, ObjectId})
_INNER = re.compile(r"((?:[^|]|\|\|)*)(?:\|(.*))?", re.DOTALL)


class Placeholder(NamedTuple):
    """`{name}` or `{name|default}`: one of `OWN`, or a path in the body. `default` is None if there is none."""

    name: str
    default: str | None = None

    def __str__(self) -> str:
        return f"{{{self.name}}}"


class Template:
    """A text in which `{…}` stands for a value of the event.

    `{db}`, `{collection}`, `{operation}` and `{$id}` are the event's own, regardless of its body. Any other name is a
    path in the body (`{fullDocument.customer.name}`). `{name|default}` uses the default if the value is missing, null
    or an empty text. The first `|` ends the name, and `||` is a literal `|` in a name; a default cannot contain braces.
    Outside placeholders, `{{` and `}}` are literal braces. Values are written as in plain JSON, texts without quotes.

    A value that is missing, null or empty and has no default becomes an empty text. With `required` (the option's
    name), the event is refused instead, and `{collection}` is `WHOLE_DATABASE` for an event of a whole database.

    `texts` holds the constant parts, one more than there are `placeholders`. Raises ValueError for an invalid template.
    """

    def __init__(self, text: str, *, required: str | None = None) -> None:
        self.text = text
        self.texts, self.placeholders = _parse(text)
        self.constant = not self.placeholders
        """Whether the text is the same for every event."""
        self._reads = [_text_of(placeholder, required) for placeholder in self.placeholders]
        self._form = "%s".join(part.replace("%", "%%") for part in self.texts)

    def __call__(self, event: Event) -> str:
        """The text for an event.

        Raises TypeError if a value cannot be represented in JSON, and Refused if a required value is missing.
        """
        return self._form % tuple([read(event) for read in self._reads])

    def values(self, event: Event) -> list[str]:
        """The placeholders' texts for an event. Raises the same errors as `__call__`."""
        return [read(event) for read in self._reads]


def _checked(text: str) -> str:
    Template(text)
    return text


def _path(text: str) -> str:
    parse_path(text)
    return text


TemplateText = Annotated[str, AfterValidator(_checked)]
"""A template option."""
PathText = Annotated[str, AfterValidator(_path)]
"""An option that is a path in the body."""


def _parse(text: str) -> tuple[tuple[str, ...], tuple[Placeholder, ...]]:
    texts: list[str] = []
    placeholders: list[Placeholder] = []
    part: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character not in "{}":
            end = min((found for found in (text.find("{", at), text.find("}", at)) if found >= 0), default=len(text))
            part.append(text[at:end])
            at = end
        elif text.startswith(character * 2, at):
            part.append(character)
            at += 2
        else:
            end = text.find("}", at)
            inner = text[at + 1 : end]
            if character == "}" or end < 0 or "{" in inner:
                raise ValueError(f"{text!r} has an unmatched brace; write {{{{ and }}}} for literal braces")
            placeholders.append(_placeholder(inner))
            texts.append("".join(part))
            part = []
            at = end + 1
    return (*texts, "".join(part)), tuple(placeholders)


def _placeholder(inner: str) -> Placeholder:
    found = _INNER.fullmatch(inner)
    assert found is not None  # the pattern matches every text
    name = found[1].replace("||", "|")
    if name not in OWN:
        parse_path(name)
    return Placeholder(name, found[2])


def _text_of(placeholder: Placeholder, required: str | None) -> Callable[[Event], str]:
    """Return a function that gives a placeholder's text."""
    name, default = placeholder
    if required is not None and name == "collection" and default is None:
        default = WHOLE_DATABASE
    if name in OWN:
        own = OWN[name]
        return own if not default else lambda event: own(event) or default
    read = reader(name)
    if default is not None:
        return lambda event: written(read(event)) or default
    if required is None:
        return lambda event: written(read(event))

    def demand(event: Event) -> str:
        value = read(event)
        if text := written(value):
            return text
        state = "missing" if value is MISSING else "empty" if isinstance(value, str) else "null"
        raise Refused(
            f"{required}: {name} is {state} in this event ({event.operation}); "
            f"give it a default, as in {{{name}|none}}",
            local=True,
        )

    return demand


def reader(text: str, default: Any = MISSING) -> Read:
    """Return a function that reads a path in an event's body, or `default` if it does not exist; `$id` is the event's
    id.

    Raises ValueError for an invalid path.
    """
    if text == "$id":
        return OWN["$id"]
    path = parse_path(text)
    if len(path) == 1:
        first = path[0]
        return lambda event: event.body.get(first, default)
    if len(path) == 2:
        # By far the most frequent shape (fullDocument.x, documentKey._id), and on the hot path.
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
    """A value as a template writes it. Raises TypeError if it cannot be represented in JSON."""
    if value.__class__ in _STRAIGHT:
        return str(value)
    if value is None or value is MISSING:
        return ""
    data = bson_json.plain(value)
    if data[:1] == b'"':
        return str(orjson.loads(data))
    return "" if data == b"null" else data.decode()  # JSON writes NaN and infinity as null


def document_key(event: Event) -> str | None:
    """The document's `_id` as a template writes it; None for an event that concerns no document."""
    if event.key is None:
        return None
    value = event.key.get("_id")
    return str(value) if value.__class__ is ObjectId else written(value)
