"""Checkpoints and dead letters to store."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

from mess.event import Namespace, Position
from mess.state import Checkpoint, DeadLetter

NOW = datetime(2026, 7, 1, 12, 0, 0, 123000, tzinfo=timezone.utc)

EVERY_TYPE: dict[str, Any] = {
    "double": 1.5,
    "infinite": float("-inf"),
    "string": "héllo \N{SNOWMAN}",
    "document": {"a": {"b": 1}, "$dollar": 1, "dotted.name": 2, "": 3},
    "array": [1, [2], {"three": 3}],
    "binary": b"\x00\xff",
    "uuid": Binary(b"0123456789abcdef", 4),
    "vendor": Binary(b"x", 128),
    "objectid": ObjectId("65f0c0ffee65f0c0ffee65f0"),
    "true": True,
    "null": None,
    "date": NOW,
    "old": datetime(1, 1, 1, tzinfo=timezone.utc),
    "far": DatetimeMS(2**60),
    "regex": Regex("^a.*b$", re.IGNORECASE),
    "code": Code("return 1"),
    "scoped": Code("return x", {"x": 1}),
    "int": 42,
    "long": Int64(42),
    "longest": Int64(2**63 - 1),
    "timestamp": Timestamp(1700000000, 7),
    "decimal": Decimal128("0.1000"),
    "not a number": Decimal128("NaN"),
    "min": MinKey(),
    "max": MaxKey(),
    "ref": DBRef("things", ObjectId("65f0c0ffee65f0c0ffee65f0"), "other"),
}


def checkpoint(stream: str = "shop", second: int = 1, **changed: Any) -> Checkpoint:
    """A checkpoint of `stream`, at `second` of the cluster's time."""
    position = Position({"_data": f"82{second:08X}0000000129"}, Timestamp(second, 1))
    return replace(Checkpoint(stream, "abc123", position, NOW), **changed)


def letter(id: str = "msg_1", minutes: float = 0, **changed: Any) -> DeadLetter:  # noqa: A002
    """A dead letter given up on so many minutes after noon."""
    event = {"_id": {"_data": "82"}, "operationType": "insert", "fullDocument": {"_id": 1}}
    return replace(
        DeadLetter(
            id=id,
            pipeline="shop",
            step="http",
            namespace=Namespace("shop", "orders"),
            operation="insert",
            key={"_id": 1},
            reason="HTTP 400: no such customer",
            error="Refused",
            attempts=1,
            time=NOW + timedelta(minutes=minutes),
            event=event,
            body={"order": 1},
        ),
        **changed,
    )
