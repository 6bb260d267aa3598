"""The sample shop makes every kind of change, and counts them right."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

from pymongo import AsyncMongoClient, MongoClient

from mess.demo.replica_set import ReplicaSet
from mess.demo.shop import Shop


async def test_each_counted_write_is_one_change_event(
    replica_set: ReplicaSet, mongo: MongoClient[dict[str, Any]], database: str
) -> None:
    """What `written` and `existing` say is what the change stream tells, also when the shop is stopped in the middle of
    a write."""
    with mongo[database].watch(max_await_time_ms=200) as stream:
        async with AsyncMongoClient[dict[str, Any]](replica_set.url) as client:
            shop = Shop(client[database], rate=1000, seed=4)
            await shop.begin_with(30)
            for _ in range(100):
                await shop.write()
            running = asyncio.create_task(shop.run())
            await asyncio.sleep(0.5)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        expected = shop.existing + shop.written
        changes: list[dict[str, Any]] = []
        while (change := stream.try_next()) is not None or len(changes) < expected.total():
            assert change is not None
            changes.append(change)
    assert Counter((change["ns"]["coll"], change["documentKey"]["_id"]) for change in changes) == expected
    assert not shop.existing.keys() & shop.written.keys()
    assert {change["operationType"] for change in changes} == {"insert", "update", "replace", "delete"}
