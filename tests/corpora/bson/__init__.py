"""Reads MongoDB's BSON corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from mess.capture.decode import RAW

_HERE = Path(__file__).parent


def cases(kind: str) -> dict[str, dict[str, Any]]:
    """The cases of a kind (`valid`, `decodeErrors`) by name: the file's, and the case's description."""
    return dict(_cases(kind))


def _cases(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(_HERE.glob("*.json")):
        for case in json.loads(path.read_text()).get(kind, ()):
            yield f"{path.stem}: {case['description']}", case


def change(number: int, document: bytes) -> bytes:
    """The `number`-th change event of a stream, an insert of a document that may be damaged."""
    key = {"_id": number}
    before = {
        "_id": {"_data": f"826553F10000000001A{number}"},
        "operationType": "insert",
        "clusterTime": Timestamp(5, 1),
    }
    behind = {"ns": {"db": "shop", "coll": "orders"}, "documentKey": key}
    return _framed(_fields(before) + _field(3, "fullDocument", document) + _fields(behind))


def reply(*changes: bytes) -> RawBSONDocument:
    """A reply's cursor with these change events, as the driver gives it."""
    batch = _framed(b"".join(_field(3, str(index), each) for index, each in enumerate(changes)))
    return RawBSONDocument(_framed(_fields({"id": 1}) + _field(4, "nextBatch", batch)), RAW)


def _fields(document: dict[str, Any]) -> bytes:
    return bson.encode(document)[4:-1]


def _field(kind: int, name: str, value: bytes) -> bytes:
    return bytes([kind]) + name.encode() + b"\x00" + value


def _framed(fields: bytes) -> bytes:
    return (len(fields) + 5).to_bytes(4, "little") + fields + b"\x00"
