"""Messages for invalid values, in the users' terms instead of pydantic's."""

from __future__ import annotations

import re
from typing import Any

from mess.similar import did_you_mean

_KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "model": "a mapping, with a key: value on each line",
    "dict": "a mapping, with a key: value on each line",
    "list": "a list",
    "tuple": "a list",
}
_MISMATCH = re.compile(rf"({'|'.join(_KINDS)})_(?:type|parsing|parsing_size|from_float|attributes_type|number)")
_BOUNDS = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
_BOUNDS |= {"greater_than": ("more than", "gt"), "less_than": ("less than", "lt")}
_PLAIN = re.compile(r"[\w .,:*+$-]{1,40}")


def message_for(error: Any, *, secret: bool) -> str:
    """The message for one of pydantic's errors (its `ErrorDetails`). Never shows a value that is or may be secret."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "too_short" and context.get("min_length") == 1:
        return "must not be empty"
    if kind == "literal_error":
        return _choice(given, context["expected"], secret)
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {context[bound]}"
    if kind == "value_error":
        return without_secret(str(context["error"]), given, secret)
    mismatch = _MISMATCH.fullmatch(kind)
    if mismatch is None:
        return without_secret(re.sub(r"^\w+ should ", "must ", error["msg"]), given, secret)
    return _mismatch(kind, given, _KINDS[mismatch[1]])


def _mismatch(kind: str, given: Any, needed: str) -> str:
    if given is None:
        return f"has no value; it must be {needed}"
    message = f"must be {needed}"
    if kind == "string_type" and not isinstance(given, (dict, list)):
        return f"{message}; put it in quotes"
    if kind.startswith(("model", "dict")) and isinstance(given, list):
        return f'{message}, not a list; write "name: {{}}" for each'
    if kind.startswith(("list", "tuple")) and isinstance(given, dict):
        return f'{message}; begin each entry with "- "'
    return message


def _choice(given: Any, expected: str, secret: bool) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    allowed = choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
    return f"must be {allowed}" + ("" if secret else did_you_mean(given, choices))


def plain(value: Any) -> bool:
    """Whether a value is short and plain enough to be shown."""
    return _PLAIN.fullmatch(value) is not None if isinstance(value, str) else isinstance(value, (int, float))


def without_secret(message: str, given: Any, secret: bool) -> str:
    """A message without the value that it is about, unless that may be shown."""
    if plain(given) and not secret:
        return message
    message = message.replace(repr(given), "the value")
    return message.replace(given, "the value") if isinstance(given, str) and given else message
