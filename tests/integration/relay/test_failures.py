"""What a relay does when the receiver refuses, fails, or answers late."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import Any

import pytest

from mess.errors import Stopped
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request
from tests.waiting import PATIENCE, until


def refuse(key: Any) -> Any:
    def respond(request: Request) -> Answer:
        [event] = request.events
        bad = event.body["documentKey"]["_id"] == key
        return Answer(400, body=b"no such order") if bad else Answer()

    return respond


@pytest.mark.parametrize("kind", ["mongodb", "sqlite"])
async def test_a_refused_event_becomes_a_dead_letter_and_the_stream_goes_on(lab: Lab, kind: str) -> None:
    options = {"state": {"url": f"sqlite:///{lab.folder}/state.db"}} if kind == "sqlite" else {}
    lab.receiver.respond = refuse("bad")
    pipeline = [{"name": "field-map", "config": {"fields": {"documentKey": "documentKey"}}}, lab.http]
    async with lab.running(**options, pipeline=pipeline) as relay:
        lab.db.orders.insert_many([{"_id": "before"}, {"_id": "bad", "n": 5}, {"_id": "behind"}])
        await lab.receiver.wait_for(3)
        await until(lambda: all(not len(each.window) for each in relay.progress), "all done")
    assert len(lab.receiver.requests) == 3  # a refusal is not tried again
    [letter] = await lab.dead_letters(**options)
    refused = next(request for request in lab.receiver.requests if request.answer.status == 400)
    assert letter.id == refused.headers["webhook-id"]
    assert (letter.step, letter.operation, letter.error, letter.attempts) == ("http", "insert", "Refused", 1)
    assert str(letter.namespace) == f"{lab.db.name}.orders"
    assert "400" in letter.reason
    assert "no such order" in letter.reason
    assert letter.event["fullDocument"] == {"_id": "bad", "n": 5}
    assert letter.body == {"documentKey": {"_id": "bad"}}
    assert abs(letter.time.timestamp() - refused.time) < 10


async def test_a_refused_event_is_skipped_where_the_config_says_so(lab: Lab) -> None:
    lab.receiver.respond = refuse("bad")
    async with lab.running(pipeline=[{**lab.http, "on_failure": "skip"}]):
        lab.db.orders.insert_many([{"_id": "bad"}, {"_id": "good"}])
        await lab.receiver.wait_for(2)
    assert await lab.dead_letters() == []


async def test_a_refused_event_stops_the_relay_and_comes_first_after_the_next_start(lab: Lab) -> None:
    options: dict[str, Any] = {"pipeline": [{**lab.http, "on_failure": "stop"}], "order": "collection"}
    lab.receiver.respond = refuse("bad")
    relay = lab.relay(**options)
    running = asyncio.create_task(relay.run())
    await asyncio.wait_for(relay.ready(), PATIENCE)
    lab.db.orders.insert_many([{"_id": "good"}, {"_id": "bad"}, {"_id": "behind"}])
    with pytest.raises(Stopped, match="400"):
        await asyncio.wait_for(running, PATIENCE)
    assert await lab.dead_letters() == []
    lab.receiver.respond = None
    seen = len(lab.receiver.requests)
    async with lab.running(**options):
        await lab.receiver.wait_for_events(3)
    assert [request.json["documentKey"]["_id"] for request in lab.receiver.requests[seen:]] == ["bad", "behind"]


async def test_a_plugin_that_raises_costs_its_own_event_only(lab: Lab) -> None:
    lab.write(
        "def pick(input, config, context):\n    1 / input['fullDocument']['n']\n    return input\n", "my_picks.py"
    )
    async with lab.running(pipeline=["pick", lab.http], plugins={"pick": "my_picks:pick"}):
        lab.db.orders.insert_many([{"_id": n, "n": n} for n in range(3)])
        await lab.receiver.wait_for_events(2)
    [letter] = await lab.dead_letters()
    assert letter.step == "pick"
    assert "ZeroDivisionError" in letter.reason
    assert "my_picks.py:2" in letter.reason


@pytest.mark.parametrize("order", ["document", "collection"])
async def test_updates_arrive_in_order_whatever_the_receiver_does(lab: Lab, order: str) -> None:
    """With 16 lanes, answers that take their time at random, and a fifth of them failures."""
    dice = random.Random(5)
    documents, rounds = 20, 10
    lab.receiver.respond = lambda request: Answer(dice.choice([200] * 4 + [500]), delay=dice.random() / 100)
    async with lab.running(concurrency=16, order=order):
        lab.db.orders.insert_many([{"_id": n, "n": 0} for n in range(documents)])
        for number in range(1, rounds):
            for key in range(documents):
                lab.db.orders.update_one({"_id": key}, {"$set": {"n": number}})
        await lab.receiver.wait_for_events(documents * rounds, timeout=30)
    arrived: dict[Any, list[int]] = defaultdict(list)
    ids: set[str] = set()
    for event in lab.receiver.accepted:
        assert event.id not in ids, "accepted twice"
        ids.add(event.id)
        change = event.body.get("updateDescription", {}).get("updatedFields", {"n": 0})
        arrived[event.body["documentKey"]["_id"]].append(change["n"])
    assert arrived == {key: list(range(rounds)) for key in range(documents)}
    if order == "collection":
        assert [event.body["documentKey"]["_id"] for event in lab.receiver.accepted] == [*range(documents)] * rounds


async def test_lanes_work_at_the_same_time(lab: Lab) -> None:
    """One slow document does not hold up the others."""
    lab.receiver.respond = lambda request: Answer(hang=request.json["documentKey"]["_id"] == "slow")
    async with lab.running(shutdown_grace="100ms", concurrency=16):
        lab.db.orders.insert_one({"_id": "slow"})
        await lab.receiver.wait_for(1)
        lab.db.orders.insert_many([{"_id": n} for n in range(50)])
        # Those that share the slow one's lane wait for it.
        await lab.receiver.wait_for(30)


async def test_a_drop_waits_for_all_before_it_and_lets_nothing_pass(lab: Lab) -> None:
    lab.receiver.respond = lambda request: Answer(delay=0.02 if request.json["operationType"] == "insert" else 0)
    async with lab.running():
        lab.db.orders.insert_many([{"_id": n} for n in range(30)])
        lab.db.orders.drop()
        lab.db.orders.insert_many([{"_id": n} for n in range(30, 40)])
        await lab.receiver.wait_for_events(41)
    kinds = [event.body["operationType"] for event in lab.receiver.accepted]
    assert kinds == ["insert"] * 30 + ["drop"] + ["insert"] * 10


def stems(sentences: list[str]) -> list[str]:
    """The sentences without how long it has lasted, and what else changes while it does."""
    return [each.partition(" (for ")[0] for each in sentences]


async def test_a_receiver_that_is_down_is_a_warning_and_makes_only_readyz_with_sinks_fail(lab: Lab) -> None:
    """A relay whose receiver is down is ready (or no roll-out would end), says why, and says when it is over."""
    await lab.receiver.stop()
    async with lab.running() as relay:
        await until(lambda: relay.status.sink_problems(), "a problem, found before there is an event")
        lab.db.orders.insert_one({"_id": 1})
        await until(lambda: "is down" in relay.status.sink_problems()[0], "what the event has shown")
        status, text = await lab.get(relay, "/readyz")
        assert (status, json.loads(text)["reasons"]) == (200, [])
        [warning] = json.loads(text)["warnings"]
        assert warning.startswith("step http of pipeline top level: ")
        status, text = await lab.get(relay, "/readyz?sinks=true")
        assert (status, stems(json.loads(text)["reasons"])) == (503, stems([warning]))
        assert stems(json.loads((await lab.get(relay, "/status"))[1])["warnings"]) == stems([warning])
        assert (await lab.get(relay, "/healthz"))[0] == 200
        await lab.receiver.start()
        await lab.receiver.wait_for_events(1)
        await until(lambda: not relay.status.sink_problems(), "no problem any more")
        assert (await lab.get(relay, "/readyz?sinks=true"))[0] == 200


async def test_the_admin_pages_tell_what_was_delivered(lab: Lab) -> None:
    lab.receiver.script.append(Answer(500))
    async with lab.running() as relay:
        lab.db.orders.insert_many([{"_id": n} for n in range(5)])
        await lab.receiver.wait_for_events(5)
        await until(lambda: relay.status.changed == 5, "five events done")
        for path in ("/", "/count"):
            status, text = await lab.get(relay, path)
            assert (status, json.loads(text)["changed"]) == (200, 5)
        status, text = await lab.get(relay, "/metrics")
        [stream] = json.loads((await lab.get(relay, "/status"))[1])["streams"]
    assert status == 200
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    outcomes = {name: float(value) for name, value in samples.items() if name.startswith("mess_deliveries")}
    assert sum(value for name, value in outcomes.items() if "delivered" in name) == 5
    assert sum(value for name, value in outcomes.items() if "ambiguous" in name) == 1
    assert stream["connected"] is True
    assert stream["window_events"] == 0
    assert 0 <= stream["lag_seconds"] < 60


async def test_a_stop_does_not_wait_for_a_sink_that_is_down(lab: Lab) -> None:
    lab.receiver.answer = Answer(503, headers={"Retry-After": "300"})
    relay = lab.relay()
    running = asyncio.create_task(relay.run())
    await asyncio.wait_for(relay.ready(), PATIENCE)
    lab.db.orders.insert_one({"_id": 1})
    await lab.receiver.wait_for(1)
    relay.stop()
    await asyncio.wait_for(running, 3)
