"""The events to drain: orders, whose change events have 458 bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import cycle
from typing import Any

import bson
from bson import ObjectId
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

DATABASE = "bench"
COLLECTION = "orders"
_INSERT = 2000

Document = dict[str, Any]


def order(number: int, **more: Any) -> Document:
    """An order; `number` tells it apart."""
    return {
        "_id": ObjectId(),
        "number": number,
        "customer": f"customer-{number % 5000:06d}",
        "status": "new",
        "total": 42.5,
        "created": datetime(2026, 1, 31, 12, tzinfo=timezone.utc),
        "note": "x" * 42,
        **more,
    }


def sized(size: int) -> Callable[[int], Document]:
    """Orders whose documents have about `size` bytes."""
    filler = "x" * max(0, size - len(bson.encode(order(0, more=""))))
    return lambda number: order(number, more=filler)


def medium(number: int) -> Document:
    """A document of 4 KB: an order of 60 lines."""
    return order(number, lines=[_line(line) for line in range(60)])


def big_string(number: int) -> Document:
    """A document of 64 KB, nearly all of it one string."""
    return order(number, blob="x" * 65_200)


def field_rich(number: int) -> Document:
    """A document of 64 KB, made of 4,000 small values: the most that it can take once it is decoded."""
    return order(number, lines=[_line(line) for line in range(1000)])


def _line(number: int) -> Document:
    return {"sku": f"sku-{number:05d}", "quantity": number % 9, "price": 1.5, "gift": False}


def insert(url: str, count: int, make: Any = order, database: str = DATABASE) -> int:
    """Insert `count` documents; returns the size of one change event in bytes of BSON."""
    with MongoClient[Document](url) as client:
        target = client[database][COLLECTION].with_options(write_concern=WriteConcern(1))
        with client[database].watch() as stream:
            target.insert_one(make(0))
            size = len(bson.encode(next(stream)))
        for numbers in _slices(1, count, max(1, min(_INSERT, 16_000_000 // size))):
            target.insert_many([make(number) for number in numbers], ordered=False)
    return size


def scatter(url: str, count: int, names: Mapping[str, Sequence[str]]) -> None:
    """Insert `count` orders, spread evenly and in turn over all collections; `names` are those of each database."""
    with MongoClient[Document](url) as client:
        targets = [client[name][each] for name, inner in names.items() for each in inner]
        few = max(1, min(_INSERT, count // len(targets) // 5))
        for numbers, target in zip(_slices(0, count, few), cycle(targets), strict=False):
            target.insert_many([order(number) for number in numbers], ordered=False)


def _slices(start: int, end: int, step: int) -> Iterator[range]:
    for first in range(start, end, step):
        yield range(first, min(first + step, end))
