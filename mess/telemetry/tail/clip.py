"""Documents as relaxed Extended JSON, cut to a size: one of 16 MB must neither hold up the relay nor fill a client's
queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bson import Code, DBRef, Int64, ObjectId, Timestamp
from bson.binary import Binary

from mess.formats import bson_json

_DEEPEST = 100
_ELLIPSIS = "…"
_OTHER = 16  # bytes, about as many as a number, a date or an ObjectId takes in JSON
_REPR = 200


class Clip:
    """Converts values to JSON's types, up to about `room` bytes of JSON; `cut` is whether something was left out.

    It looks only at what it converts, so a large value takes no longer than one that just fits.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.cut = False

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The part of `value` for which there is room. What was left out is missing, or ends with an ellipsis. A value
        that is neither BSON's nor JSON's becomes text."""
        if self._room <= 0 or depth > _DEEPEST:
            self.cut = True
            return _ELLIPSIS
        kind = type(value)
        if kind is str:
            return self._text(value)
        self._room -= _OTHER
        if (convert := _LEAVES.get(kind)) is not None:
            return convert(value)
        if kind is dict or isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._list(value, depth)
        if isinstance(value, DBRef):
            return self._mapping(value.as_doc(), depth)
        if isinstance(value, str | bytes) and len(value) > self._room:
            self.cut = True
            value = _beginning(value, max(0, self._room))
        self._room -= len(value) if isinstance(value, str | bytes) else 0
        return _leaf(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, item in value.items():
            if self._room <= 0:
                self.cut = True
                break
            name = key if type(key) is str else str(key)
            self._room -= len(name) + 4
            copied[name] = self.copy(item, depth + 1)
        return copied

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        copied: list[Any] = []
        for item in value:
            if self._room <= 0:
                self.cut = True
                break
            copied.append(self.copy(item, depth + 1))
        return copied

    def _text(self, value: str) -> str:
        room = self._room
        self._room -= len(value) + 2
        if len(value) <= room:
            return value
        self.cut = True
        return value[:room] + _ELLIPSIS


def _beginning(value: str | bytes, room: int) -> str | bytes:
    if isinstance(value, Binary):
        return Binary(value[:room], value.subtype)
    return Code(value[:room]) if isinstance(value, Code) else value[:room]


def _same(value: Any) -> Any:
    return value


def _float(value: float) -> Any:
    return value if math.isfinite(value) else _leaf(value)


def _leaf(value: Any) -> Any:
    try:
        return bson_json.relaxed_value(value)
    except (TypeError, ValueError, OverflowError):
        return repr(value)[:_REPR]


# The most frequent ones; the others take longer.
_LEAVES: Mapping[type, Callable[[Any], Any]] = {
    int: _same,
    bool: _same,
    type(None): _same,
    float: _float,
    Int64: int,
    ObjectId: lambda value: {"$oid": str(value)},
    Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
}
