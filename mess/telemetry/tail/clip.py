"""Cuts large values: a document of 16 MB must neither hold up the relay nor fill a client's queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.binary import Binary

_DEEPEST = 100
_ELLIPSIS = "…"
_OTHER = 16  # bytes, about as many as a number, a date or an ObjectId takes in JSON


class Clip:
    """Copies values up to about `room` bytes of JSON; `cut` is whether something was left out.

    It looks only at what it copies, so a large value takes no longer than one that just fits.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.cut = False

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The part of `value` for which there is room. What was left out is missing, or ends with an ellipsis."""
        if self._room <= 0 or depth > _DEEPEST:
            self.cut = True
            return _ELLIPSIS
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._list(value, depth)
        if isinstance(value, str | bytes):
            return self._text(value)
        self._room -= _OTHER
        return value

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        copied: dict[Any, Any] = {}
        for key, item in value.items():
            if self._room <= 0:
                self.cut = True
                break
            self._room -= len(str(key)) + 4
            copied[key] = self.copy(item, depth + 1)
        return copied

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        copied: list[Any] = []
        for item in value:
            if self._room <= 0:
                self.cut = True
                break
            self._room -= 1
            copied.append(self.copy(item, depth + 1))
        return copied

    def _text(self, value: str | bytes) -> str | bytes:
        room = self._room
        self._room -= len(value) + 2
        if len(value) <= room:
            return value
        self.cut = True
        if isinstance(value, str):
            return value[:room] + _ELLIPSIS
        return Binary(value[:room], value.subtype) if isinstance(value, Binary) else value[:room]
