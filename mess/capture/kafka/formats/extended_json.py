"""Reads MongoDB's Extended JSON, with the types that `mess.capture.decode.VALUES` gives.

`bson.json_util` takes twice as long or more, raises for documents that only look like a type, and makes a new ObjectId
of `{"$oid": null}`. python-bsonjs takes three quarters of the time for canonical JSON, and more for relaxed, but it
refuses the whole text for such a document, and takes a stored `{"$regex": …, "$options": …}` for a regular expression.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
from bson import DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UUID_SUBTYPE, Binary
from bson.code import Code

_EPOCH = datetime(1970, 1, 1)
_INT32, _INT64 = 2**31, 2**63
_SURROGATES = re.compile(
    rb"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def loads(text: bytes | str) -> Any:
    """The JSON in a text, whose objects are not yet taken for BSON's types.

    NaN and Infinity are accepted, since Java's driver writes them, and lone surrogates become U+FFFD. Raises ValueError
    for what is not JSON, RecursionError if it is nested too deeply.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        return json.loads(_SURROGATES.sub(lambda found: found[1] or b"\\ufffd", raw).decode("utf-8", "replace"))


def milliseconds(value: int) -> datetime | DatetimeMS:
    """The time so many milliseconds after 1970. Raises an error for what BSON cannot hold."""
    seconds, rest = divmod(value, 1000)
    try:
        return _EPOCH + timedelta(0, seconds, 1000 * rest)  # three times as fast as with milliseconds
    except OverflowError:
        if not -_INT64 <= value < _INT64:
            raise
        return DatetimeMS(value)


def moment(text: str) -> datetime:
    """A time in ISO 8601, in UTC without a time zone. Raises ValueError."""
    if text.endswith("Z"):
        return datetime.fromisoformat(text[:-1])
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is None else found.astimezone(timezone.utc).replace(tzinfo=None)


def _text(value: Any) -> str:
    if value.__class__ is not str:
        raise TypeError
    return str(value)


def _object_id(value: Any) -> ObjectId:
    return ObjectId(bytes.fromhex(value))


def _int(value: Any) -> int:
    number = int(value)
    if value.__class__ is not str or not -_INT32 <= number < _INT32:
        raise ValueError
    return number


def _long(value: Any) -> Int64:
    number = Int64(value)
    if value.__class__ is not str or not -_INT64 <= number < _INT64:
        raise ValueError
    return number


def _double(value: Any) -> float:
    if value.__class__ is not str:
        raise TypeError
    return float(value)


def _date(value: Any) -> datetime | DatetimeMS:
    if value.__class__ is str:
        return moment(value)
    [(name, inner)] = value.items()
    if name != "$numberLong":
        raise ValueError
    return milliseconds(int(_text(inner)))


def _timestamp(value: Any) -> Timestamp:
    return Timestamp(value["t"], value["i"])


def _binary(value: Any) -> bytes:
    return _of_subtype(a2b_base64(_text(value["base64"])), int(_text(value["subType"]), 16))


def _of_subtype(data: bytes, subtype: int) -> bytes:
    return Binary(data, subtype) if subtype else data


def _regex(value: Any) -> Regex[str]:
    return Regex(_text(value["pattern"]), _text(value["options"]))


def _pointer(value: Any) -> DBRef:
    return DBRef(_text(value["$ref"]), _object_id(value["$id"]["$oid"]))


_TYPES: dict[str, Callable[[Any], Any]] = {
    "$oid": _object_id,
    "$numberInt": _int,
    "$numberLong": _long,
    "$numberDouble": _double,
    "$numberDecimal": lambda value: Decimal128(_text(value)),
    "$date": _date,
    "$timestamp": _timestamp,
    "$binary": _binary,
    "$uuid": lambda value: Binary(UUID(_text(value)).bytes, UUID_SUBTYPE),
    "$regularExpression": _regex,
    "$code": lambda value: Code(_text(value)),
    "$symbol": _text,
    "$undefined": lambda value: None,
    "$minKey": lambda value: MinKey(),
    "$maxKey": lambda value: MaxKey(),
    "$dbPointer": _pointer,
}
"""How to read a document whose only field has this name. The functions raise errors of many kinds."""


def _scoped_code(document: dict[str, Any]) -> Any:
    code, scope = _text(document["$code"]), document["$scope"]
    if len(document) != 2 or scope.__class__ is not dict:
        raise ValueError
    return Code(code, scope)


def _reference(document: dict[str, Any]) -> Any:
    # As the driver does with BSON.
    reference, id_, database = document["$ref"], document["$id"], document.get("$db")
    if reference.__class__ is not str or not (database is None or database.__class__ is str):
        raise ValueError
    rest = {name: value for name, value in document.items() if name not in ("$ref", "$id", "$db")}
    return DBRef(reference, id_, database, rest)


_LARGER: dict[str, Callable[[dict[str, Any]], Any]] = {"$code": _scoped_code, "$ref": _reference}
"""How to read a document with several fields, of which the first has this name."""


def _java_date(value: Any) -> Any:
    return milliseconds(value) if value.__class__ is int else _date(value)


def _java_binary(document: dict[str, Any]) -> Any:
    if len(document) != 2:
        raise ValueError
    return _of_subtype(a2b_base64(_text(document["$binary"])), int(_text(document["$type"]), 16))


def _java_regex(document: dict[str, Any]) -> Any:
    if len(document) != 2:
        raise ValueError
    return Regex(_text(document["$regex"]), _text(document["$options"]))


_JAVA_TYPES = {**_TYPES, "$date": _java_date}
_JAVA_LARGER = {**_LARGER, "$binary": _java_binary, "$regex": _java_regex}

Read = Callable[[dict[str, Any]], dict[str, Any]]
"""Puts BSON's types into what `loads` gives, in place, and returns it. What only looks like a type, such as
`{"$oid": 5}`, stays a document. Raises RecursionError if it is nested too deeply."""


def _reader(types: Mapping[str, Callable[[Any], Any]], larger: Mapping[str, Callable[[dict[str, Any]], Any]]) -> Read:
    find, find_larger = types.get, larger.get

    def document(value: dict[str, Any]) -> dict[str, Any]:
        for name, item in value.items():
            kind = item.__class__
            if kind is dict:
                # As in `one`, which would cost a fifth more here.
                if len(item) == 1:
                    [(only, inner)] = item.items()
                    convert = find(only)
                    if convert is not None:
                        try:
                            value[name] = convert(inner)
                            continue
                        except Exception:  # it only looks like a type
                            pass
                    document(item)
                else:
                    value[name] = one(item)
            elif kind is list:
                array(item)
        return value

    def array(value: list[Any]) -> None:
        for index, item in enumerate(value):
            kind = item.__class__
            if kind is dict:
                value[index] = one(item)
            elif kind is list:
                array(item)

    def one(value: dict[str, Any]) -> Any:
        name = next(iter(value), "")
        convert = (find if len(value) == 1 else find_larger)(name)
        if convert is None:
            return document(value)
        if len(value) == 1:
            try:
                return convert(value[name])
            except Exception:  # see above
                return document(value)
        document(value)
        try:
            return convert(value)
        except Exception:  # see above
            return value

    return document


extended: Read = _reader(_TYPES, _LARGER)
"""For Extended JSON v2, canonical or relaxed."""
java: Read = _reader(_JAVA_TYPES, _JAVA_LARGER)
"""For that and the older form that Java's driver calls strict."""
