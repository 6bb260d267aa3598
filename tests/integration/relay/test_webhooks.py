"""From a change in MongoDB to the user's webhook."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId

from mess import Relay
from tests.integration.relay.conftest import Lab
from tests.waiting import until

SAME_DATABASES = {
    "yaml": """
name: {name}
mongodb: {{url: "{url}"}}
state: {{database: {name}-state}}
admin: {{port: 0}}
databases: {{"{name}": {{}}}}
pipeline: [{{name: "log"}}, {{name: "http", config: {{endpoint: "{endpoint}"}}}}]
""",
    "js": """
// As the Node.js tool had it.
module.exports = {{
  name: '{name}',
  mongodb: {{ url: '{url}' }},
  state: {{ database: '{name}-state' }},
  admin: {{ port: 0 }},
  databases: {{ "{name}": {{}} }},
  pipeline: [{{ name: 'log' }}, {{ name: 'http', config: {{ endpoint: '{endpoint}' }} }},],
}};
""",
}

NODE_SAMPLE = {
    "yaml": """
name: {name}
mongodb: {{url: "{url}"}}
state: {{database: {name}-state}}
admin: {{port: 0}}
pipeline:
  - name: stamp
  - {{name: http, config: {{endpoint: "{endpoint}"}}}}
plugins: {{stamp: "my_stamps:stamp"}}
databases:
  {name}-01:
    collections:
      test: {{}}
  {name}-02:
    collections: {{}}
""",
    "js": """
module.exports = {{
  name: "{name}", mongodb: {{url: "{url}"}}, state: {{database: "{name}-state"}}, admin: {{port: 0}},
  pipeline: [
    {{ name: "stamp" }},
    {{ name: "http", config: {{ endpoint: "{endpoint}" }} }}
  ],
  plugins: {{ stamp: "my_stamps:stamp" }},
  databases: {{
    "{name}-01": {{
      collections: {{ test: {{}} }}
    }},
    "{name}-02": {{
      collections: {{}}
    }}
  }}
}}
""",
}


def fill(lab: Lab, template: str) -> str:
    return template.format(name=lab.db.name, url=lab.url, endpoint=lab.receiver.url)


@pytest.mark.parametrize("style", ["yaml", "js"])
async def test_every_change_of_a_whole_database_becomes_a_webhook(lab: Lab, style: str) -> None:
    path = lab.write(fill(lab, SAME_DATABASES[style]), f"config.{'yml' if style == 'yaml' else 'js'}")
    key = ObjectId()
    moment = datetime(2026, 11, 23, 10, 0, 0, 123000, tzinfo=timezone.utc)
    async with lab.running(Relay.from_config(path, environ={})):
        lab.db.orders.insert_one({"_id": key, "total": 5, "at": moment, "big": 2**40})
        lab.db.orders.update_one({"_id": key}, {"$set": {"total": 6}})
        lab.db.orders.replace_one({"_id": key}, {"total": 7})
        lab.db.orders.delete_one({"_id": key})
        lab.db.created_later.insert_one({"_id": 1})
        requests = await lab.receiver.wait_for(5)
    later = next(request for request in requests if request.json["ns"]["coll"] == "created_later")
    insert, update, replace, delete = (request for request in requests if request is not later)
    assert [each.json["operationType"] for each in (insert, update, replace, delete)] == [
        "insert",
        "update",
        "replace",
        "delete",
    ]
    assert {request.method for request in requests} == {"POST"}
    assert {request.headers["content-type"] for request in requests} == {"application/json"}
    assert insert.json["documentKey"] == {"_id": str(key)}
    assert insert.json["fullDocument"] == {
        "_id": str(key),
        "total": 5,
        "at": "2026-11-23T10:00:00.123Z",
        "big": 2**40,
    }
    assert update.json["updateDescription"]["updatedFields"] == {"total": 6}
    assert replace.json["fullDocument"] == {"_id": str(key), "total": 7}
    assert delete.json["ns"] == {"db": lab.db.name, "coll": "orders"}
    assert len({request.headers["webhook-id"] for request in requests}) == 5
    assert all(re.fullmatch(r"msg_[A-Z2-7]{52}", request.headers["webhook-id"]) for request in requests)
    assert all(abs(int(request.headers["webhook-timestamp"]) - request.time) < 5 for request in requests)


@pytest.mark.parametrize("style", ["yaml", "js"])
async def test_the_node_tools_sample_does_what_it_did(lab: Lab, style: str) -> None:
    lab.write("def stamp(input, config, context):\n    return {**input, 'stamped': True}\n", "my_stamps.py")
    path = lab.write(fill(lab, NODE_SAMPLE[style]), f"config.{'yml' if style == 'yaml' else 'js'}")
    client, one, two = lab.db.client, f"{lab.db.name}-01", f"{lab.db.name}-02"
    try:
        async with lab.running(Relay.from_config(path, environ={})):
            client[one].other.insert_one({"_id": "not asked for"})
            client[one].test.insert_one({"_id": 1})
            client[two].anything.insert_one({"_id": 2})
            client[two].more.insert_one({"_id": 3})
            events = await lab.receiver.wait_for_events(3)
        assert sorted(event.body["fullDocument"]["_id"] for event in events) == [1, 2, 3]
        assert all(event.body["stamped"] is True for event in events)
    finally:
        client.drop_database(one)
        client.drop_database(two)


async def test_the_webhook_id_is_the_events_id_whatever_the_config(lab: Lab) -> None:
    start = (datetime.now(timezone.utc) - timedelta(seconds=2)).isoformat()
    async with lab.running():
        lab.db.orders.insert_one({"_id": 1})
        [single] = await lab.receiver.wait_for_events(1)
    batch = {"name": "http", "config": {"endpoint": lab.receiver.url, "batch": {"max_events": 10}}}
    collections = {lab.db.name: {"collections": {"orders": {"operations": ["insert"]}}}}
    async with lab.running(name=f"{lab.db.name}-2", start=start, databases=collections, pipeline=[batch]):
        requests = await lab.receiver.wait_for(2)
    assert requests[1].events[0].id == single.id


async def test_batches_carry_each_events_id_and_body(lab: Lab) -> None:
    batch = {"name": "http", "config": {"endpoint": lab.receiver.url, "batch": {"max_events": 7}}}
    async with lab.running(pipeline=[batch], concurrency=1):
        lab.db.orders.insert_many([{"_id": n} for n in range(50)])
        events = await lab.receiver.wait_for_events(50)
    assert [event.body["documentKey"]["_id"] for event in events] == list(range(50))
    sizes = [len(request.events) for request in lab.receiver.requests]
    assert max(sizes) == 7
    for request in lab.receiver.requests:
        assert set(request.json) == {"id", "events"}
        assert request.headers["webhook-id"] == request.json["id"]
        assert all(set(event) == {"id", "body", "document"} for event in request.json["events"])


async def test_field_map_before_http(lab: Lab) -> None:
    fields = {"order": "documentKey._id", "money.total": "fullDocument.total", "id": "$id", "v": {"value": 2}}
    async with lab.running(pipeline=[{"name": "field-map", "config": {"fields": fields}}, lab.http]):
        lab.db.orders.insert_one({"_id": 1, "total": 5})
        [event] = await lab.receiver.wait_for_events(1)
    assert event.body == {"order": 1, "money": {"total": 5}, "id": event.id, "v": 2}


PLUGINS = """
import asyncio

def odd(input, config, context):
    return input if input["fullDocument"]["n"] % config["by"] else None

async def name(input, config, context):
    await asyncio.sleep(0)
    return {"n": input["fullDocument"]["n"], "relay": context["name"]}
"""


async def test_sync_and_async_plugins_from_a_module_beside_the_config(lab: Lab) -> None:
    lab.write(PLUGINS, "my_numbers.py")
    pipeline = [{"name": "odd", "config": {"by": 2}}, "name", lab.http]
    plugins = {"odd": "my_numbers:odd", "name": "my_numbers:name"}
    async with lab.running(pipeline=pipeline, plugins=plugins, order="collection") as relay:
        lab.db.orders.insert_many([{"_id": n, "n": n} for n in range(9)])
        events = await lab.receiver.wait_for_events(4)
    assert [event.body["n"] for event in events] == [1, 3, 5, 7]
    assert all(event.body["relay"] == lab.db.name for event in events)
    assert relay.status.changed == 4


HOOK = """
import json, pathlib

def hook(item, context):
    with open(pathlib.Path(__file__).with_name("hooked.txt"), "a") as file:
        file.write(json.dumps([item["ns"]["coll"], item["documentKey"]["_id"]]) + "\\n")
"""


@pytest.mark.parametrize("scope", ["top", "database", "collection"])
async def test_a_change_hook_takes_the_pipelines_place(lab: Lab, scope: str) -> None:
    lab.write(HOOK, f"my_hooks_{scope}.py")
    hook = {"changeHook": f"my_hooks_{scope}:hook"}
    options: dict[str, Any] = {
        "top": {**hook, "databases": {lab.db.name: {}}},
        "database": {"databases": {lab.db.name: hook}},
        "collection": {"databases": {lab.db.name: {"collections": {"hooked": hook, "plain": {}}}}},
    }[scope]
    async with lab.running(**options) as relay:
        lab.db.hooked.insert_one({"_id": 1})
        lab.db.plain.insert_one({"_id": 2})
        await until(lambda: relay.status.changed == 2, "two events done")
    hooked = (lab.folder / "hooked.txt").read_text().splitlines()
    if scope == "collection":
        assert hooked == ['["hooked", 1]']
        assert [event.body["ns"]["coll"] for event in lab.receiver.accepted] == ["plain"]
    else:
        assert sorted(hooked) == ['["hooked", 1]', '["plain", 2]']
        assert lab.receiver.requests == []


async def test_the_most_specific_pipeline_wins(lab: Lab) -> None:
    def marked(by: str) -> list[dict[str, Any]]:
        return [{"name": "field-map", "config": {"fields": {"by": {"value": by}, "ns": "ns.coll"}}}, lab.http]

    other = f"{lab.db.name}-other"
    databases = {
        lab.db.name: {"pipeline": marked("database"), "collections": {"own": {"pipeline": marked("own")}, "*": {}}},
        other: {},
    }
    try:
        async with lab.running(databases=databases, pipeline=marked("top")):
            lab.db.own.insert_one({})
            lab.db.shared.insert_one({})
            lab.db.client[other].any.insert_one({})
            events = await lab.receiver.wait_for_events(3)
        assert {event.body["ns"]: event.body["by"] for event in events} == {
            "own": "own",
            "shared": "database",
            "any": "top",
        }
    finally:
        lab.db.client.drop_database(other)
