"""What is known of collections that exist, with either driver, and which of them can be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import OperationFailure

from mess.capture import client as mongodb
from mess.capture.existing import Facts, matching, why_not
from mess.config.model import Config
from mess.demo.replica_set import ReplicaSet
from mess.errors import SourceError
from mess.event import Namespace

Db = Database[dict[str, Any]]


@pytest.fixture(params=["pymongo", "motor"])
async def client(request: pytest.FixtureRequest, replica_set: ReplicaSet) -> AsyncIterator[Any]:
    """A client of either driver."""
    made = mongodb.connect(replica_set.url, request.param)
    yield made
    await mongodb.close(made)


def config(db: str, **scope: Any) -> Config:
    return Config.model_validate(
        {"mongodb": {"url": "mongodb://localhost"}, "databases": {db: scope}, "pipeline": [{"name": "log"}]}
    )


def fill(db: Db) -> None:
    db.orders.insert_many([{"_id": number, "text": "x" * 100} for number in range(20)])
    db.create_collection("empty")
    db.create_collection("view", viewOn="orders", pipeline=[])
    db.create_collection("series", timeseries={"timeField": "at"})
    db.create_collection("capped", capped=True, size=4096)
    db.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})


async def test_the_facts(client: Any, db: Db) -> None:
    """Kind, capped, clustered, number and size of each; MongoDB's own collections are not among them."""
    fill(db)
    found = {each.namespace.coll: each for each in await matching(client, config(db.name), f"{db.name}.*")}
    assert list(found) == ["capped", "clustered", "empty", "orders", "series", "view"]
    orders, empty = found["orders"], found["empty"]
    assert orders.namespace == Namespace(db.name, "orders")
    assert (orders.kind, orders.documents, orders.capped, orders.clustered) == ("collection", 20, False, False)
    assert orders.average is not None
    assert 100 < orders.average < 200
    assert (empty.documents, empty.average) == (0, None)
    assert found["clustered"].clustered
    assert found["capped"].capped
    assert (found["view"].kind, found["view"].documents) == ("view", None)
    assert found["series"].kind == "timeseries"


async def test_what_cannot_be_sent(client: Any, db: Db) -> None:
    """With the reason, and what to do instead."""
    fill(db)
    watched = config(db.name)
    found = {each.namespace.coll: why_not(each) for each in await matching(client, watched, f"{db.name}.*")}
    assert {name for name, reason in found.items() if reason is None} == {"orders", "empty", "clustered"}
    assert found["view"] == f"{db.name}.view is a view, which cannot be watched. Name the collection that it reads"
    assert "capped: snapshot reads are refused" in (found["capped"] or "")
    assert "time series" in (found["series"] or "")
    [views] = await matching(client, watched, f"{db.name}.system.views")
    assert "MongoDB's own" in (why_not(views) or "")


def test_an_old_server_cannot() -> None:
    facts = Facts(Namespace("shop", "orders"), "collection", False, False, 1, 1, 13, datetime.now(timezone.utc))
    assert why_not(facts) is None
    assert "older than 5.0" in (why_not(replace(facts, wire_version=9)) or "")


async def test_only_what_the_config_watches(client: Any, db: Db) -> None:
    """By name or glob, of databases and of collections, as the config says."""
    fill(db)

    async def names(watched: Config, pattern: str) -> list[str]:
        return [each.namespace.coll for each in await matching(client, watched, pattern)]

    watched = config(db.name, collections={"orders": {}, "c*": {}})
    assert await names(watched, f"{db.name}.*") == ["capped", "clustered", "orders"]
    assert await names(watched, f"{db.name}.orders") == ["orders"]
    assert await names(watched, f"{db.name[:-1]}?.o*") == ["orders"]
    assert await names(watched, "*.orders") == ["orders"]
    for pattern in (f"{db.name}.empty", f"{db.name}.none", "other.orders", "local.oplog.rs", "*.none"):
        assert await names(watched, pattern) == []


async def test_without_a_privilege_numbers_are_unknown(client: Any, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing is enough to know whether a collection can be sent; a refused listing names the privilege."""
    fill(db)
    refused = ["count", "aggregate"]
    database_type = type(client.get_database(db.name))
    command = database_type.command

    async def without(self: Any, what: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(what, dict) and next(iter(what)) in refused:
            raise OperationFailure("not authorized", 13)
        return await command(self, what, *arguments, **options)

    monkeypatch.setattr(database_type, "command", without)
    [facts] = await matching(client, config(db.name), f"{db.name}.orders")
    assert (facts.kind, facts.documents, facts.average) == ("collection", None, None)
    assert why_not(facts) is None
    refused.append("listDatabases")
    with pytest.raises(SourceError, match="lacks a privilege"):
        await matching(client, config(db.name), "*.orders")


@pytest.mark.parametrize("pattern", ["config.transactions", "config.*", "local.oplog.rs", "*.*", "mess.backfills"])
async def test_databases_that_globs_do_not_watch_have_none(client: Any, db: Db, pattern: str) -> None:
    """Named or not: no stream would deliver their changes, so a backfill of them would wait forever."""
    db.client.mess.backfills.insert_one({})
    db.orders.insert_one({})
    found = {each.namespace.db for each in await matching(client, config("*"), pattern)}
    db.client.drop_database("mess")
    assert found.isdisjoint({"config", "local", "admin", "mess"})
    assert (db.name in found) == (pattern == "*.*")
