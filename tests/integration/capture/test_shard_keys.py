"""A shard key is part of every event, so `mess check` refuses to promise that it is excluded."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient

from mess.capture.preflight import Finding, examine
from mess.demo.replica_set import ReplicaSet
from mess.errors import ConfigError
from tests.integration.capture.reading import watching


async def found(url: str, exclude: list[str]) -> list[Finding]:
    """What `mess check` says of a config that excludes these fields, of a sharded cluster."""
    async with watching(url) as watch:
        plans = watch.plans({"shop": {"collections": {"orders": {"exclude": exclude}, "*": {}}}})
        findings = examine(watch.client, {"msg": "isdbgrid"}, plans, None)
        return [finding async for finding in findings if "shard key" in finding.what]


async def test_an_excluded_field_of_a_shard_key_is_refused_with_the_reason(own_replica_set: ReplicaSet) -> None:
    """A replica set that has the catalogue of a sharded cluster stands in for one."""
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        keys = {"shop.orders": {"card.number": "hashed"}, "shop.others": {"region": 1}, "crm.orders": {"region": 1}}
        client["config"]["collections"].insert_many([{"_id": name, "key": key} for name, key in keys.items()])
    for excluded in ("card.number", "card", "card.number.x"):
        [finding] = await found(own_replica_set.url, [excluded, "other"])
        assert not finding.ok
        assert finding.exit_code == ConfigError.exit_code
        assert "exclude cannot remove card.number from events of shop.orders" in finding.what
        assert "reshardCollection" in finding.remedy
    assert await found(own_replica_set.url, ["region", "card.numbers", "number"]) == []
