"""Targets and endpoints made of an event's values, from a real MongoDB: each event arrives where it belongs, or becomes
a dead letter with the reason."""

from __future__ import annotations

from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Receiver, Request
from tests.servers.redis import RedisServer
from tests.waiting import until


async def test_a_webhook_for_each_collection(lab: Lab) -> None:
    name = lab.db.name
    step = {**lab.http, "config": {"endpoint": f"{lab.receiver.url}/{{db}}/{{collection}}", "batch": {}}}
    async with lab.running(pipeline=[step]):
        lab.db["orders"].insert_one({"_id": 1})
        lab.db["a/b?c#d%"].insert_one({"_id": 1})
        lab.db["é x"].insert_one({"_id": 1})
        lab.db.client.drop_database(name)
        database = f"/hook/{name}/_database"
        await until(lambda: any(one.path == database for one in lab.receiver.requests), "dropDatabase")
    assert await lab.dead_letters() == []
    found = {request.path.removeprefix(f"/hook/{name}/"): request for request in lab.receiver.requests}
    assert set(found) == {"orders", "a%2Fb%3Fc%23d%25", "%C3%A9%20x", "_database"}
    assert [event.body["operationType"] for event in found["_database"].events] == ["dropDatabase"]
    assert {event.body["ns"]["coll"] for event in found["a%2Fb%3Fc%23d%25"].events} == {"a/b?c#d%"}


async def test_an_event_without_the_endpoints_value_becomes_a_dead_letter_and_the_others_arrive(lab: Lab) -> None:
    """A delete has no fullDocument, and a document may lack the field, or hold null or an empty text."""
    step = {**lab.http, "config": {"endpoint": f"{lab.receiver.url}/{{fullDocument.region}}"}}
    async with lab.running(pipeline=[step]):
        lab.db["orders"].insert_many([{"_id": 1, "region": "eu"}, {"_id": 2}, {"_id": 3, "region": None}])
        lab.db["orders"].insert_many([{"_id": 4, "region": ""}, {"_id": 5, "region": "../us"}])
        lab.db["orders"].delete_one({"_id": 1})
        lab.db["orders"].insert_one({"_id": 6, "region": "last"})
        await until(lambda: len(lab.receiver.requests) == 3, "the last event")
    assert {request.path for request in lab.receiver.requests} == {"/hook/eu", "/hook/..%2Fus", "/hook/last"}
    letters = {(letter.operation, letter.key["_id"]): letter.reason for letter in await lab.dead_letters()}
    advice = "give it a default, as in {fullDocument.region|none}"
    assert letters == {
        ("insert", 2): f"endpoint: fullDocument.region is missing in this event (insert); {advice}",
        ("insert", 3): f"endpoint: fullDocument.region is null in this event (insert); {advice}",
        ("insert", 4): f"endpoint: fullDocument.region is empty in this event (insert); {advice}",
        ("delete", 1): f"endpoint: fullDocument.region is missing in this event (delete); {advice}",
    }


async def test_a_queue_never_publishes_to_half_a_target(lab: Lab, redis_server: RedisServer) -> None:
    name = lab.db.name
    target = f"{name}:{{collection}}:{{fullDocument.region}}"
    other = f"{name}:{{collection}}:{{fullDocument.region|none}}:x"
    steps = [{"name": "queue", "config": {"url": redis_server.url, "target": text}} for text in (other, target)]
    with redis_server.client() as client:
        async with lab.running(pipeline=steps):
            lab.db["orders"].insert_many([{"_id": 1, "region": "eu"}, {"_id": 2}])
            await until(lambda: client.xlen(f"{name}:orders:none:x") == 1, "the event without a region")
            lab.db.client.drop_database(name)
            await until(lambda: client.xlen(f"{name}:_database:none:x") == 1, "dropDatabase")
        found = {key.decode(): client.xlen(key) for key in client.keys(f"{name}:*")}
    assert found == {
        f"{name}:orders:eu": 1,
        f"{name}:orders:eu:x": 1,
        f"{name}:orders:none:x": 2,  # the drop as well
        f"{name}:_database:none:x": 1,
    }
    reasons = [letter.reason.partition(";")[0] for letter in await lab.dead_letters()]
    assert reasons == [
        f"target: fullDocument.region is missing in this event ({one})" for one in ("insert", "drop", "dropDatabase")
    ]


async def test_unknown_destinations_hold_nothing_up_where_they_are_refused(lab: Lab) -> None:
    """As docs/templates.md recommends it where documents choose the destination: more of them than the window holds
    become dead letters, and the event behind arrives."""

    def respond(request: Request) -> Answer:
        return Answer(200 if request.path.endswith("/good") else 404)

    async with Receiver(respond=respond) as receiver:
        config = {"endpoint": f"{receiver.url}/{{fullDocument.c}}", "answers": {"refused": [404]}}
        step = {"name": "http", "config": config, "retry": {"max_age": "1h"}, "probe": {"refusing_after": None}}
        async with lab.running(pipeline=[step], window={"max_events": 100}):
            lab.db["orders"].insert_many([{"c": f"unknown-{number}"} for number in range(150)] + [{"c": "good"}])
            await until(lambda: len(receiver.accepted) == 1, "the event behind")
    assert len(await lab.dead_letters()) == 150
