"""Documents' `_id`s, byte for byte: decoding them may lose something. Pure.

A key is a BSON document whose only field is an `_id`.
"""

from __future__ import annotations

import bson
from bson.raw_bson import RawBSONDocument

_ID = b"_id\0"
_NUMBERS = frozenset({0x01, 0x10, 0x12, 0x13})  # double, int, long, decimal
# The length of a value of each BSON type (bsonspec.org), by type byte: a fixed one, or that of the 32-bit length with
# which the value begins, plus what that does not count.
_FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_PREFIXED = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}


def id_of(document: bytes) -> bytes:
    """A BSON document with only the `_id` of a document, byte for byte: decoding it may lose something.

    MongoDB stores `_id` as the first field.
    """
    kind = document[4]
    start = 5 + len(_ID)
    if document[5:start] != _ID:
        raise ValueError("the document does not begin with its _id")
    length = _FIXED.get(kind)
    if length is None:
        length = int.from_bytes(document[start : start + 4], "little") + _PREFIXED[kind]
    body = document[4 : start + length] + b"\0"
    return (len(body) + 4).to_bytes(4, "little") + body


def literal(key: bytes) -> RawBSONDocument:
    """`{$literal: value}` for the value of the only field of a BSON document."""
    return _document(_renamed(key, b"$literal"))


def between(low: bytes, high: bytes) -> RawBSONDocument:
    """`{$gte: low, $lte: high}`. The values are never decoded, which may lose something."""
    return _document(_renamed(low, b"$gte") + _renamed(high, b"$lte"))


def comparable(low: bytes, high: bytes) -> bool:
    """Whether `{$gte: low, $lte: high}` selects everything between two values of which `low` is not the larger one."""
    if low[4] in _NUMBERS and high[4] in _NUMBERS:
        return "nan" not in str(bson.decode(low)["_id"]).lower()  # it is the smallest number, and equals only itself
    return low[4] == high[4]


def _renamed(key: bytes, name: bytes) -> bytes:
    """The only field of a BSON document, with another name."""
    return key[4:5] + name + b"\0" + key[5 + len(_ID) : -1]


def _document(fields: bytes) -> RawBSONDocument:
    return RawBSONDocument((len(fields) + 5).to_bytes(4, "little") + fields + b"\0")
