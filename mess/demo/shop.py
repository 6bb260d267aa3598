"""A sample shop: customers order, orders progress, some are cancelled. It writes like any application, and does not
know the relay."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

_FIRST_NAMES = ("Ada", "Ben", "Chloé", "Dmitri", "Eşref", "Fumiko", "Grace", "Hugo", "Imani", "Jorge")
_GOODS = {"book": 12.5, "coffee": 7.9, "lamp": 49.0, "notebook": 4.2, "teapot": 31.0, "umbrella": 18.0}
_STATUSES = ("new", "paid", "packed", "shipped", "delivered")
_OPEN_ORDERS = 40
_FIRST_ORDER = 1001
_FORMER_CUSTOMERS = 20

Document = dict[str, Any]
Turn = Callable[[], Awaitable[None]]
Key = tuple[str, Any]
"""A collection's name and a document's `_id`."""


class Shop:
    """Writes to the collections `orders` and `customers` of `database`, `rate` times per second on average.

    The same `seed` gives the same writes. `written` counts the changes that MongoDB has confirmed, by collection and
    `_id`; each is one change event. `existing` has the documents that the shop began with, which never change.
    """

    def __init__(self, database: AsyncDatabase[Document], *, rate: float = 4.0, seed: int | None = None) -> None:
        self._customers = database["customers"]
        self._orders = database["orders"]
        self._rate = rate
        self._random = random.Random(seed)
        self._open: dict[int, int] = {}
        self._next_order = _FIRST_ORDER
        self._known_customers = 0
        self._turns: dict[Turn, int] = {
            self._order: 40,
            self._move_on: 38,
            self._correct: 8,
            self._cancel: 6,
            self._join: 8,
        }
        self.written: Counter[Key] = Counter()
        self.existing: Counter[Key] = Counter()

    async def begin_with(self, count: int) -> None:
        """Write `count` orders of the past, as an application has them before it gets a relay."""
        self._known_customers = _FORMER_CUSTOMERS
        since = datetime.now(timezone.utc)
        customers = [self._customer(number, since) for number in range(1, _FORMER_CUSTOMERS + 1)]
        numbers = range(self._next_order, self._next_order + count)
        orders = [{"_id": number, **self._basket(), "status": _STATUSES[-1]} for number in numbers]
        self._next_order += count
        await self._customers.insert_many(customers)
        await self._orders.insert_many(orders)
        for collection, documents in (("customers", customers), ("orders", orders)):
            self.existing.update((collection, document["_id"]) for document in documents)

    async def run(self) -> None:
        """Write until cancelled. A write that has started is always counted."""
        while True:
            # Shielded, so that no write is confirmed by MongoDB but not counted.
            await _unbroken(self.write())
            await asyncio.sleep(self._random.expovariate(self._rate))

    async def write(self) -> None:
        """Make one change."""
        await self._turn()()

    def _turn(self) -> Turn:
        if not self._known_customers:
            return self._join
        if not self._open:
            return self._order
        if len(self._open) >= _OPEN_ORDERS:
            return self._move_on
        return self._random.choices(list(self._turns), list(self._turns.values()))[0]

    async def _join(self) -> None:
        self._known_customers += 1
        await self._customers.insert_one(self._customer(self._known_customers, datetime.now(timezone.utc)))
        self._count("customers", self._known_customers)

    async def _order(self) -> None:
        number = self._next_order
        self._next_order += 1
        await self._orders.insert_one({"_id": number, **self._basket(), "status": _STATUSES[0]})
        self._open[number] = 0
        self._count("orders", number)

    async def _move_on(self) -> None:
        number = self._random.choice(list(self._open))
        stage = self._open[number] + 1
        await self._orders.update_one({"_id": number}, {"$set": {"status": _STATUSES[stage]}})
        self._open[number] = stage
        if stage == len(_STATUSES) - 1:
            del self._open[number]
        self._count("orders", number)

    async def _correct(self) -> None:
        number = self._random.choice(list(self._open))
        corrected = {**self._basket(), "status": _STATUSES[self._open[number]], "corrected": datetime.now(timezone.utc)}
        await self._orders.replace_one({"_id": number}, corrected)
        self._count("orders", number)

    async def _cancel(self) -> None:
        number = self._random.choice(list(self._open))
        await self._orders.delete_one({"_id": number})
        del self._open[number]
        self._count("orders", number)

    def _customer(self, number: int, since: datetime) -> Document:
        return {"_id": number, "name": self._random.choice(_FIRST_NAMES), "since": since}

    def _basket(self) -> Document:
        goods = self._random.sample(sorted(_GOODS), self._random.randint(1, 3))
        quantities = {sku: self._random.randint(1, 4) for sku in goods}
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        total = round(sum(_GOODS[sku] * quantity for sku, quantity in quantities.items()), 2)
        return {"customer": self._random.randint(1, self._known_customers), "total": total, "items": items}

    def _count(self, collection: str, key: int) -> None:
        self.written[collection, key] += 1


async def _unbroken(work: Awaitable[None]) -> None:
    """Await `work` to its end even if cancelled; the cancellation follows."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.exception()  # nobody else will look at it
        raise
