"""`format: debezium`, from a real MongoDB to a webhook and to Kafka, read as a consumer of Debezium's topics would."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any

from bson import Decimal128, Int64, ObjectId, Regex, Timestamp, json_util
from bson.json_util import JSONMode, JSONOptions

from tests.integration.relay.conftest import Lab
from tests.servers.kafka import KafkaServer
from tests.waiting import until

LEGACY = JSONOptions(json_mode=JSONMode.LEGACY, tz_aware=True)
ORDER: dict[str, Any] = {
    "_id": ObjectId("65f0a1b2c3d4e5f601020304"),
    "total": 42.5,
    "count": Int64(2**60),
    "price": Decimal128("1.50"),
    "at": datetime(2026, 1, 31, 12, 0, 0, 123000, timezone.utc),
    "raw": b"\x00\xff",
    "like": Regex("^a", "i"),
    "seen": Timestamp(5, 6),
    "odd": [1e22, math.inf, None, {"☃": "\U0001f600\u2028"}],
}


def document(text: str) -> Any:
    return json_util.loads(text, json_options=LEGACY)


def write(lab: Lab) -> None:
    """Everything that may happen to a document, in a collection that keeps what was there before; and a drop."""
    orders = lab.db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    orders.insert_one(ORDER)
    orders.update_one({"_id": ORDER["_id"]}, {"$set": {"total": 43.0}, "$unset": {"like": 1}})
    orders.replace_one({"_id": ORDER["_id"]}, {"paid": True})
    orders.delete_one({"_id": ORDER["_id"]})
    lab.db["scrap"].drop()
    with lab.db.client.start_session() as session, session.start_transaction():
        orders.insert_one({"_id": "in a transaction"}, session=session)


def config(lab: Lab, step: dict[str, Any]) -> dict[str, Any]:
    """The whole database, by this step."""
    scope = {"full_document_before_change": "when_available", "full_document": "when_available", "pipeline": [step]}
    return {"databases": {lab.db.name: scope}}


async def test_webhooks(lab: Lab) -> None:
    lab.db.create_collection("scrap")
    step = {"name": "http", "config": {"endpoint": lab.receiver.url, "format": "debezium"}}
    async with lab.running(**config(lab, step)) as relay:
        write(lab)
        await lab.receiver.wait_for(5)
        _, metrics = await lab.get(relay, "/metrics")
    assert await lab.dead_letters() == []
    created, updated, replaced, deleted, last = [request.json for request in lab.receiver.requests]
    assert [one["op"] for one in (created, updated, replaced, deleted, last)] == ["c", "u", "u", "d", "c"]
    assert (created["before"], document(created["after"])) == (None, ORDER)
    assert document(updated["before"]) == ORDER
    assert document(updated["after"])["total"] == 43.0
    assert updated["updateDescription"]["removedFields"] == ["like"]
    assert json.loads(updated["updateDescription"]["updatedFields"]) == {"total": 43.0}
    assert document(replaced["after"]) == document(deleted["before"]) == {"_id": ORDER["_id"], "paid": True}
    assert deleted["after"] is None
    source = created["source"]
    assert (source["name"], source["db"], source["collection"]) == (lab.db.name, lab.db.name, "orders")
    assert source["ts_ms"] == source["wallTime"] == source["ts_ns"] // 1_000_000
    assert set(document(last["source"]["lsid"])) == {"id", "uid"}
    assert isinstance(last["source"]["txnNumber"], int)
    assert 'outcome="passed_over"' in metrics


async def test_kafka(lab: Lab, kafka_server: KafkaServer) -> None:
    topic = f"shop.{lab.db.name}.orders"
    kafka_server.create(topic)
    options = {"url": kafka_server.url, "target": "shop.{db}.{collection}", "format": "debezium"}
    step = {"name": "queue", "config": {**options, "debezium": {"name": "shop"}}}
    async with lab.running(**config(lab, step)):
        write(lab)
        await until(lambda: len(kafka_server.records(topic)) == 5, "every record", 30)
    records = [(json.loads(record.key()), json.loads(record.value())) for record in kafka_server.records(topic)]
    one = [value for key, value in records if json.loads(key["id"]) == {"$oid": str(ORDER["_id"])}]
    assert [value["op"] for value in one] == ["c", "u", "u", "d"]
    assert {value["source"]["name"] for value in one} == {"shop"}
    assert [value["op"] for key, value in records if key == {"id": '"in a transaction"'}] == ["c"]
