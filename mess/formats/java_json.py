"""Extended JSON exactly as MongoDB's Java driver writes it, in the three variants that Debezium mixes.

`strict` is the driver's old form, used for documents. `relaxed` is Extended JSON v2, used for keys. `relaxed_spaced` is
the same with a space after each comma, used for updated fields.

Keys must match byte for byte, or consumers' partitions and compaction break. For documents, `bson.json_util`'s legacy
mode would do, except for doubles and escapes as docs/formats.md promises them, but it takes 1.4 times as long.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any
from unicodedata import category

from bson import DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UUID_SUBTYPE, Binary
from bson.code import Code

from mess.formats import bson_json

Write = Callable[[Any], str]
"""Writes a BSON value. Raises TypeError for one that is neither BSON's nor JSON's."""

_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_YEAR_10000 = 253_402_300_800_000  # milliseconds
_INT32 = range(-(2**31), 2**31)
# By Unicode categories, as in Java.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Lm", "Mn", "Mc", "Me"})


class _Escapes(dict[int, str]):
    """Escape sequences by character code, computed when first needed."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if code > 0xFFFF:
            units = character.encode("utf-16-be")
            written = f"\\u{units[:2].hex()}\\u{units[2:].hex()}"
        else:
            written = f"\\u{code:04x}" if category(character) in _ESCAPED else character
        self[code] = written
        return written


_ESCAPES = _Escapes({ord(one): f"\\{letter}" for one, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)})


def _text(value: str) -> str:
    if value.isascii() and "\x7f" not in value:
        return encode_basestring(value)
    return f'"{value.translate(_ESCAPES)}"'


@lru_cache(maxsize=4096)
def _name(key: str) -> str:
    return _text(key) + ": "


def _finite(value: float) -> str:
    """A finite number in the form of Java's Double.toString."""
    if 1e-3 <= abs(value) < 1e7 or not value:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, *rest = map(str, digits)
    return f"{'-' if sign else ''}{first}.{''.join(rest) or '0'}E{len(rest) + int(exponent)}"


def _beyond(value: float) -> str:
    """NaN or an infinity, by its Java name."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _strict_double(value: float) -> str:
    if 1e-3 <= value < 1e7:  # the usual case
        return repr(value)
    return _finite(value) if math.isfinite(value) else _beyond(value)


def _relaxed_double(value: float) -> str:
    return _finite(value) if math.isfinite(value) else f'{{"$numberDouble": "{_beyond(value)}"}}'


def milliseconds(value: datetime) -> int:
    """Milliseconds since 1970. A date without a time zone is taken as UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(timezone.utc).replace(tzinfo=None)
    return (value - _EPOCH) // _MILLISECOND


def _int(value: int) -> str:
    return repr(value) if value in _INT32 else _long(value)


def _long(value: int) -> str:
    return f'{{"$numberLong": "{value:d}"}}'


def _relaxed_date(milliseconds: int) -> str:
    if not 0 <= milliseconds < _YEAR_10000:
        return f'{{"$date": {_long(milliseconds)}}}'
    moment = (_EPOCH + milliseconds * _MILLISECOND).isoformat("T", "milliseconds")
    return f'{{"$date": "{moment.rstrip("0").rstrip(".")}Z"}}'


def _code(value: Code) -> dict[str, Any]:
    return {"$code": str(value)} if value.scope is None else {"$code": str(value), "$scope": value.scope}


def _strict_binary(value: bytes) -> dict[str, Any]:
    return {"$binary": base64.b64encode(value).decode(), "$type": f"{getattr(value, 'subtype', 0):02x}"}


def _relaxed_binary(value: bytes) -> dict[str, Any]:
    content = {"base64": base64.b64encode(value).decode(), "subType": f"{getattr(value, 'subtype', 0):02x}"}
    return {"$binary": content}


def _strict_regex(value: Regex[Any]) -> dict[str, Any]:
    pattern, options = bson_json.regex_parts(value)
    return {"$regex": pattern, "$options": options}


def _relaxed_regex(value: Regex[Any]) -> dict[str, Any]:
    pattern, options = bson_json.regex_parts(value)
    return {"$regularExpression": {"pattern": pattern, "options": options}}


class _Forms(dict[type, Write]):
    """The writer for each type. For a derived class, it is determined when first needed."""

    def __missing__(self, kind: type) -> Write:
        for base, known in (
            (dict, dict),
            (Mapping, dict),
            (list, list),
            (tuple, list),
            (str, str),
            (int, int),
            (float, float),
        ):
            if issubclass(kind, base):
                self[kind] = self[known]
                return self[known]
        raise TypeError(f"a value of type {kind.__name__} cannot be written as JSON")


def _writer(comma: str, as_text: Mapping[type, Write], as_document: Mapping[type, Callable[[Any], Any]]) -> Write:
    """Return a writer that puts `comma` between parts. It writes the types in `as_text` and `as_document` with their
    functions, and all others in the form common to all variants."""

    def write(value: Any) -> str:
        return forms[value.__class__](value)

    def document(value: Mapping[str, Any]) -> str:
        return f"{{{comma.join([_name(key) + forms[item.__class__](item) for key, item in value.items()])}}}"

    def array(value: Sequence[Any]) -> str:
        return f"[{comma.join([forms[item.__class__](item) for item in value])}]"

    def of_document(convert: Callable[[Any], Mapping[str, Any]]) -> Write:
        return lambda value: document(convert(value))

    own: dict[type, Write] = {
        dict: document,
        list: array,
        str: _text,
        bool: lambda value: "true" if value else "false",
        type(None): lambda value: "null",
        ObjectId: lambda value: f'{{"$oid": "{value}"}}',
        Decimal128: lambda value: f'{{"$numberDecimal": "{value}"}}',
        Timestamp: lambda value: f'{{"$timestamp": {{"t": {value.time}{comma}"i": {value.inc}}}}}',
        Code: of_document(_code),
        DBRef: of_document(DBRef.as_doc),
        MinKey: lambda value: '{"$minKey": 1}',
        MaxKey: lambda value: '{"$maxKey": 1}',
        **as_text,
        **{kind: of_document(convert) for kind, convert in as_document.items()},
    }
    forms = _Forms(own)
    return write


def _uuid(write: Callable[[Binary], Any]) -> Callable[[uuid.UUID], Any]:
    return lambda value: write(Binary(value.bytes, UUID_SUBTYPE))  # from a user's function; MongoDB's UUIDs are Binary


_STRICT_TEXT: dict[type, Write] = {
    int: _int,
    Int64: _long,
    float: _strict_double,
    datetime: lambda value: f'{{"$date": {milliseconds(value)}}}',
    DatetimeMS: lambda value: f'{{"$date": {int(value)}}}',
}
_RELAXED_TEXT: dict[type, Write] = {
    int: int.__repr__,
    Int64: int.__repr__,
    float: _relaxed_double,
    datetime: lambda value: _relaxed_date(milliseconds(value)),
    DatetimeMS: lambda value: _relaxed_date(int(value)),
}
_STRICT_DOCUMENT: dict[type, Callable[[Any], Any]] = {
    bytes: _strict_binary,
    Binary: _strict_binary,
    uuid.UUID: _uuid(_strict_binary),
    Regex: _strict_regex,
}
_RELAXED_DOCUMENT: dict[type, Callable[[Any], Any]] = {
    bytes: _relaxed_binary,
    Binary: _relaxed_binary,
    uuid.UUID: _uuid(_relaxed_binary),
    Regex: _relaxed_regex,
}

strict = _writer(",", _STRICT_TEXT, _STRICT_DOCUMENT)
relaxed = _writer(",", _RELAXED_TEXT, _RELAXED_DOCUMENT)
relaxed_spaced = _writer(", ", _RELAXED_TEXT, _RELAXED_DOCUMENT)
