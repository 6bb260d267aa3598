"""Events of every type are delivered like any other, from a real MongoDB with `showExpandedEvents`."""

from __future__ import annotations

import json
from typing import Any

from pymongo.database import Database

from tests.integration.relay.conftest import Lab
from tests.servers.redis import RedisServer
from tests.waiting import until

KINDS = ["create", "createIndexes", "insert", "modify", "dropIndexes", "rename", "create", "insert", "drop"]
FORMATS: list[dict[str, str]] = [{}, {"json": "relaxed"}, {"json": "canonical"}, {"format": "cloudevents"}]


def write(db: Database[dict[str, Any]]) -> None:
    """A change of every kind in `KINDS`, in that order, and a last insert."""
    db.create_collection("orders")
    db["orders"].create_index("total", name="by_total")
    db["orders"].insert_one({"_id": 1})
    db.command({"collMod": "orders", "index": {"name": "by_total", "hidden": True}})
    db["orders"].drop_index("by_total")
    db["orders"].rename("bills")
    db["last"].insert_one({"_id": "last"})
    db["bills"].drop()
    db["last"].insert_one({"_id": "end"})


def kinds(bodies: list[Any]) -> list[str]:
    return [body.get("data", body)["operationType"] for body in bodies]


async def test_they_arrive_in_their_order_in_every_format(lab: Lab) -> None:
    steps = [{**lab.http, "config": {"endpoint": f"{lab.receiver.url}/{n}", **one}} for n, one in enumerate(FORMATS)]
    async with lab.running(pipeline=steps, show_expanded_events=True):
        write(lab.db)
        await lab.receiver.wait_for(len(FORMATS) * (len(KINDS) + 1))
    assert await lab.dead_letters() == []
    for number in range(len(FORMATS)):
        bodies = [request.json for request in lab.receiver.requests if request.path == f"/hook/{number}"]
        assert kinds(bodies) == [*KINDS, "insert"]
    cloud = [request.json for request in lab.receiver.requests if request.path == "/hook/3"]
    assert cloud[1]["type"] == "mongodb.createIndexes"
    assert "subject" not in cloud[1]
    plain = [request.json for request in lab.receiver.requests if request.path == "/hook/0"]
    assert plain[1]["operationDescription"]["indexes"][0]["name"] == "by_total"


async def test_a_broker_gets_them_without_a_key(lab: Lab, redis_server: RedisServer) -> None:
    """And Debezium's format, which has no form for them, leaves them out."""
    queue = {"name": "queue", "config": {"url": redis_server.url, "target": "all"}}
    debezium = {"name": "queue", "config": {"url": redis_server.url, "target": "debezium", "format": "debezium"}}
    with redis_server.client() as client:
        async with lab.running(pipeline=[queue, debezium], show_expanded_events=True):
            write(lab.db)
            await until(lambda: client.xlen("all") == len(KINDS) + 1 and client.xlen("debezium") == 3, "every entry")
        entries: Any = client.xrange("all")
    assert await lab.dead_letters() == []
    assert kinds([json.loads(fields[b"body"]) for _, fields in entries]) == [*KINDS, "insert"]
    assert [b"key" in fields for _, fields in entries] == [kind == "insert" for kind in [*KINDS, "insert"]]


async def test_operations_may_name_them(lab: Lab) -> None:
    """Only what is named is relayed, to the collection's own pipeline too."""
    collections = {"orders": {"operations": ["create", "createIndexes"]}, "last": {}}
    databases = {lab.db.name: {"collections": collections}}
    async with lab.running(databases=databases, show_expanded_events=True):
        write(lab.db)
        await lab.receiver.wait_for(5)
    bodies = [request.json for request in lab.receiver.requests]
    assert [(body["ns"]["coll"], body["operationType"]) for body in bodies] == [
        ("orders", "create"),
        ("orders", "createIndexes"),
        ("last", "create"),
        ("last", "insert"),
        ("last", "insert"),
    ]


async def test_without_the_option_this_mongodb_sends_none(lab: Lab) -> None:
    async with lab.running():
        write(lab.db)
        await lab.receiver.wait_for(5)
    assert kinds([request.json for request in lab.receiver.requests]) == [
        "insert",
        "rename",
        "insert",
        "drop",
        "insert",
    ]
