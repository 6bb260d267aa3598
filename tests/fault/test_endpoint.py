"""What an endpoint may do to a relay for a while without costing an event: refuse, fail, vanish."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from pymongo import MongoClient

from tests.checker.verdict import Arrival, judge, must_all_arrive
from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load
from tests.receiver import Answer, Receiver, Request
from tests.waiting import until

MINUTE = 60.0


@pytest.mark.long
async def test_an_endpoint_that_fails_three_requests_of_ten_for_a_minute_costs_no_event(setting: Setting) -> None:
    """With 500, 503, or no answer at all, as chance picks: all arrive, each document's in order, none is given up."""
    chance = random.Random(3)
    troubles = [Answer(500), Answer(503), Answer(close="instead")]

    class Failing(Ledger):
        def decide(self, request: Request) -> Answer:
            fails = time.monotonic() < calm and chance.random() < 0.3
            return chance.choice(troubles) if fails else self.answer

    ledger = Failing()
    load = Load(setting.url, setting.database, documents=50, pause=0.25)
    # Chance may well fail one event ten times in a row that often.
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url, retry={"max_attempts": 30}) as relay:
        calm = time.monotonic() + MINUTE
        load.start()
        await asyncio.sleep(MINUTE)
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 30)
        await relay.ready()
        assert await relay.stop() == 0
    ledger.check(load)
    assert load.total > 5_000
    assert not setting.dead_letters()


@pytest.mark.long
async def test_an_endpoint_that_is_down_for_a_minute_is_found_within_two_seconds_of_its_return(
    setting: Setting,
) -> None:
    """More is written meanwhile than the window holds; nothing is given up, and the order holds."""
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=50, pause=0.2)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load.start()
        await until(lambda: len(ledger.changes) > 500, "the first changes")
        await receiver.stop()
        await asyncio.sleep(MINUTE)
        [reason] = await relay.reasons()
        assert "http" in reason
        delivered = len(ledger.entries)
        returned = time.time()
        await receiver.start()
        await until(lambda: len(ledger.entries) > delivered, "the first delivery", 10)
        assert ledger.entries[delivered].time - returned < 2
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 60)
        await relay.ready()
    ledger.check(load)
    assert load.total > 10_000
    assert not setting.dead_letters()


async def test_an_endpoint_that_answers_404_to_all_for_ten_seconds_costs_no_event(setting: Setting) -> None:
    """As while it is deployed anew."""
    ledger = Ledger(Answer(404))
    load = Load(setting.url, setting.database, documents=50, pause=0.05)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load.start()
        await asyncio.sleep(10)
        load.finish()
        probes = len(receiver.requests)
        assert [reason for reason in await relay.reasons() if "answered 404" in reason]
        ledger.answer = Answer()
        await until(lambda: ledger.complete(load), "every change", 30)
    # The lanes' first requests, then about four in a second.
    assert probes < 80
    ledger.check(load)
    assert not setting.dead_letters()


async def test_one_poison_event_among_ten_thousand_costs_only_itself(
    setting: Setting, mongo: MongoClient[dict[str, Any]]
) -> None:
    """The endpoint answers 500 to it, and only to it: it is given up after its attempts, and the rest flows by."""
    delivered: dict[int, float] = {}
    poisoned: list[float] = []
    arrivals: list[Arrival] = []

    def respond(request: Request) -> Answer:
        number = request.json["documentKey"]["_id"]
        if number == 5_000:
            poisoned.append(request.time)
            return Answer(500, body=b"cannot digest 5000")
        delivered[number] = request.time
        arrivals.extend(Arrival.of(event.id, event.body) for event in request.events)
        return Answer()

    retry = {"max_attempts": 4, "first": "100ms", "cap": "1s"}
    with setting.committed() as committed:
        async with Receiver(respond=respond) as receiver, setting.relay(receiver.url, retry=retry) as relay:
            rows = [{"_id": number} for number in range(10_000)]
            await asyncio.to_thread(mongo[setting.database].events.insert_many, rows)
            await until(lambda: len(delivered) == 9_999, "all the others", 30)
            number = 10_000
            while not setting.dead_letters():  # others come now and then, which show that the endpoint is well
                await asyncio.to_thread(mongo[setting.database].events.insert_one, {"_id": number})
                await until(lambda: number in delivered, "one more")  # noqa: B023 - it is awaited here
                number += 1
            assert number < 11_000
            await relay.ready()
            assert await relay.stop() == 0
        await asyncio.to_thread(committed.catch_up)
    [letter] = setting.dead_letters()
    changes = [change for change in committed.changes if change.db == setting.database]
    judge(changes, must_all_arrive(changes), {"": arrivals}, dead_letters=[letter["id"]]).check()
    assert (letter["key"], letter["error"]) == ({"_id": 5_000}, "Ambiguous")
    assert "cannot digest 5000" in letter["reason"]
    assert len(poisoned) >= 4
    assert sum(moment > poisoned[0] for moment in delivered.values()) > 1_000, "others were not held up"


@pytest.mark.parametrize("batch", [None, {}], ids=["single", "batch"])
async def test_one_bad_destination_does_not_stall_another_pipeline(
    setting: Setting, mongo: MongoClient[dict[str, Any]], batch: dict[str, Any] | None
) -> None:
    """Of two collections of one database, one's endpoint is down: the other's events arrive, a window's worth."""
    arrived = 0

    def respond(request: Request) -> Answer:
        nonlocal arrived
        if request.path == "/down":
            return Answer(503)
        arrived += len(request.events)
        return Answer()

    async with Receiver(respond=respond) as receiver:
        base = receiver.url.removesuffix("/hook")
        collections = {
            name: {"pipeline": [{"name": "http", "config": {"endpoint": f"{base}/{name}", "batch": batch}}]}
            for name in ("up", "down")
        }
        relay = setting.relay(receiver.url, databases={setting.database: {"collections": collections}})
        async with relay:
            database = mongo[setting.database]
            await asyncio.to_thread(database.down.insert_many, [{"_id": number} for number in range(3_000)])
            await asyncio.to_thread(database.up.insert_many, [{"_id": number} for number in range(5_000)])
            await until(lambda: arrived == 5_000, "the other pipeline's events", 30)
            [reason] = await relay.reasons()
            assert f"{setting.database}.down" in reason
    assert not setting.dead_letters()
