"""Odd keys, values and sizes, through every format into every sink: each event arrives whole or becomes a dead letter
with the reason, and the stream goes on."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any

import bson
from bson import Binary, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument

from tests.integration.capture.test_values import with_invalid_utf8
from tests.integration.relay.conftest import Lab
from tests.servers.kafka import KafkaServer
from tests.servers.redis import RedisServer
from tests.waiting import until

FORMATS: dict[str, dict[str, str]] = {
    "plain": {},
    "relaxed": {"json": "relaxed"},
    "canonical": {"json": "canonical"},
    "cloud": {"format": "cloudevents"},
}
KEYS: list[Any] = [
    math.nan,
    {"a": 1, "b": {"c": [1, 2]}},
    Binary(b"\x00\xff\r\n", 128),
    DatetimeMS(253_402_300_800_000),
    Decimal128("1.50"),
    Int64(2**62),
    "line\r\nbreak ☃ \x00",
    "",
    False,
    MinKey(),
    Timestamp(1, 2),
]
VALUES: list[Any] = [
    {"n": math.nan, "i": -math.inf, "d": Decimal128("Infinity")},
    {"far": DatetimeMS(2**62), "past": DatetimeMS(-(2**62))},
    {"regex": Regex("^\u2603", "imx"), "max": MaxKey(), "oid": ObjectId()},
    {"deep": json.loads("[" * 80 + "]" * 80)},
    {"\u2603 a\r\nb": "\ud7ff\U0001f600", "$odd.name": {"$ref": 5}},
]
LARGE = 15_000_000


def write(lab: Lab) -> int:
    """Write them all to every collection; returns how many events each has."""
    for name in FORMATS:
        collection = lab.db[name]
        collection.insert_many([{"_id": key} for key in KEYS])
        for number, value in enumerate(VALUES):
            collection.insert_one(RawBSONDocument(bson.encode({"_id": f"value-{number}", **value})))
        collection.insert_one(with_invalid_utf8("invalid"))
        collection.insert_one({"_id": "large", "fill": "x" * LARGE})
        collection.insert_one({"_id": "behind"})
    return len(KEYS) + len(VALUES) + 3


def pipelines(lab: Lab, step: dict[str, Any]) -> dict[str, Any]:
    """A pipeline for each format, the `config` of whose step is extended by that."""
    collections = {
        name: {"pipeline": [{**step, "config": {**step["config"], **options}}]} for name, options in FORMATS.items()
    }
    return {"databases": {lab.db.name: {"collections": collections}}}


def namespace(body: dict[str, Any]) -> str:
    found: str = body.get("data", body)["ns"]["coll"]
    return found


async def test_webhooks(lab: Lab) -> None:
    async with lab.running(**pipelines(lab, lab.http)):
        each = write(lab)
        await lab.receiver.wait_for(each * len(FORMATS), 60)
    assert await lab.dead_letters() == []
    found = defaultdict(list)
    for request in lab.receiver.requests:
        found[namespace(request.json)].append(request)
    assert {name: len(requests) for name, requests in found.items()} == dict.fromkeys(FORMATS, each)
    for requests in found.values():
        assert len({request.headers["webhook-id"] for request in requests}) == each
        assert max(len(request.body) for request in requests) > LARGE
    canonical = [request.json["documentKey"]["_id"] for request in found["canonical"]]
    assert {"$numberDouble": "NaN"} in canonical
    assert {"$date": {"$numberLong": "253402300800000"}} in canonical


async def test_redis(lab: Lab, redis_server: RedisServer) -> None:
    headers = {"key": "{documentKey._id}", "odd ☃": "{fullDocument.n}\r\n"}
    step = {"name": "queue", "config": {"url": redis_server.url, "target": "{collection}", "headers": headers}}
    with redis_server.client() as client:
        async with lab.running(**pipelines(lab, step)):
            each = write(lab)
            await until(lambda: all(client.xlen(name) == each for name in FORMATS), "every entry", 60)
        entries: Any = client.xrange("plain")
    assert await lab.dead_letters() == []
    keys = {fields[b"key"] for _, fields in entries}
    assert {b'{"a":1,"b":{"c":[1,2]}}', "line␍␊break ☃ ␀".encode(), b"4611686018427387904", b"false"} <= keys
    assert all(json.loads(fields[b"body"]) for _, fields in entries)


async def test_kafka(lab: Lab, kafka_server: KafkaServer) -> None:
    """What is larger than the broker takes (1 MB, by default) becomes a dead letter; all else arrives."""
    headers = {"odd ☃": "{documentKey._id}\r\n"}
    step = {"name": "queue", "config": {"url": kafka_server.url, "target": "{collection}", "headers": headers}}
    kafka_server.create(*FORMATS)
    async with lab.running(**pipelines(lab, step)):
        each = write(lab)
        await until(lambda: all(len(kafka_server.records(name)) == each - 1 for name in FORMATS), "every record", 60)
    letters = await lab.dead_letters()
    assert {letter.namespace.coll for letter in letters} == set(FORMATS)
    for letter in letters:
        assert "MSG_SIZE_TOO_LARGE" in letter.reason
        assert len(letter.event["fullDocument"]["fill"]) == LARGE
    bodies = [json.loads(record.value()) for record in kafka_server.records("relaxed")]
    assert {"$numberDouble": "NaN"} in [body["documentKey"]["_id"] for body in bodies]
    assert "behind" in [body["documentKey"]["_id"] for body in bodies]
