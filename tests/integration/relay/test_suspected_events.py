"""One document that the receiver cannot take, and outages that look like it: by a real relay and a real receiver."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from mess.relay import blocked
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request
from tests.waiting import until

SOON = {"first": "20ms", "cap": "200ms", "min_age": "2s"}
SECONDS = 6.0


def answered(to: Callable[[Any], Answer]) -> Callable[[Request], Answer]:
    """A receiver whose answer to a request is that to the first of its documents that it does not take."""

    def respond(request: Request) -> Answer:
        answers = [to(event.body["documentKey"]["_id"]) for event in request.events]
        return next((answer for answer in answers if answer != Answer()), Answer())

    return respond


def webhook(lab: Lab, *, batch: bool, **options: Any) -> dict[str, Any]:
    config = {"endpoint": lab.receiver.url, "batch": {} if batch else None}
    return {"name": "http", "config": config, "retry": SOON, **options}


def taken(lab: Lab) -> set[Any]:
    return {event.body["documentKey"]["_id"] for event in lab.receiver.accepted}


@pytest.mark.parametrize(
    "answer", [Answer(403), Answer(500, close="instead"), Answer(502)], ids=["403", "reset", "502"]
)
@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
async def test_24_of_25_documents_pass_and_the_other_one_is_given_up(lab: Lab, batch: bool, answer: Answer) -> None:
    """The stream never stops because of one event: those that share its batch are delivered within seconds, those that
    come later at once. It is given up after `max_attempts` and `min_age`, and not before."""
    lab.receiver.respond = answered(lambda key: answer if key == 7 else Answer())
    async with lab.running(pipeline=[webhook(lab, batch=batch)]):
        began = time.monotonic()
        lab.db.orders.insert_many([{"_id": n} for n in range(25)])
        more = 100
        while not (letters := await lab.dead_letters()):
            lab.db.orders.insert_one({"_id": more})
            more += 1
            await asyncio.sleep(0.02)
            assert time.monotonic() - began < 40
        assert time.monotonic() - began > 2
        everything = {*range(25), *range(100, more)} - {7}
        await until(lambda: taken(lab) == everything, lambda: f"missing: {everything - taken(lab)}")
    [letter] = letters
    assert letter.event["documentKey"]["_id"] == 7
    assert letter.attempts >= 10
    delays = [event.time for event in lab.receiver.accepted if event.body["documentKey"]["_id"] in range(25)]
    assert max(delays) - min(delays) < 5


async def outage(lab: Lab, respond: Callable[[Request], Answer], pipeline: list[dict[str, Any]], keys: int) -> None:
    """Write for some seconds while the receiver answers so, then let it take everything: nothing is dead-lettered, and
    everything is delivered."""
    lab.receiver.respond = respond
    async with lab.running(pipeline=pipeline):
        end, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            lab.db.orders.insert_many([{"_id": number + n, "tenant": "abc"[n % 3]} for n in range(keys)])
            number += keys
            await asyncio.sleep(0.2)
        assert await lab.dead_letters() == []
        lab.receiver.respond = None
        await until(lambda: taken(lab) == set(range(number)), lambda: f"{len(taken(lab))} of {number}", 60)
    assert await lab.dead_letters() == []


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}], ids=["429", "retry-after"])
@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
async def test_a_rate_limiter_that_takes_one_in_ten_costs_nothing(
    lab: Lab, batch: bool, headers: dict[str, str]
) -> None:
    dice = random.Random(3)
    limited = Answer(429, headers=headers)
    await outage(lab, lambda _: Answer() if dice.random() < 0.1 else limited, [webhook(lab, batch=batch)], 5)


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
async def test_a_backend_that_is_down_behind_a_balancer_that_routes_at_random_costs_nothing(
    lab: Lab, batch: bool
) -> None:
    """By default: an event is only given up after five minutes of such answers, each with a witness."""
    dice = random.Random(4)
    step = webhook(lab, batch=batch, retry={"first": "20ms", "cap": "200ms"})
    await outage(lab, lambda _: Answer(502) if dice.random() < 0.5 else Answer(), [step], 5)


async def test_a_backend_that_is_down_behind_a_balancer_that_routes_by_document_costs_nothing(lab: Lab) -> None:
    """Even with a `min_age` of seconds: so many different documents are not all poisoned."""
    down = answered(lambda key: Answer(502) if key % 2 else Answer())
    await outage(lab, down, [webhook(lab, batch=False)], 40)


async def test_a_stream_that_one_event_blocks_names_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log, in `/status` and as a warning in `/readyz`; and when it flows again, it does so no longer."""
    monkeypatch.setattr(blocked, "BLOCKED_AFTER", 1.0)
    lab.receiver.respond = answered(lambda key: Answer(403) if key == 42 else Answer())
    step = webhook(lab, batch=False, retry={"first": "20ms", "cap": "200ms"})
    async with lab.running(pipeline=[step], window={"max_events": 100}) as relay:
        lab.db.orders.insert_many([{"_id": n} for n in range(40, 300)])
        await until(relay.status.warnings, "a warning", 30)
        status, text = await lab.get(relay, "/readyz")
        assert status == 200
        [warning] = json.loads(text)["warnings"]
        [poisoned] = {event.id for event in lab.receiver.received if event.body["documentKey"]["_id"] == 42}
        assert warning.startswith(f"stream {lab.db.name} is full (")
        assert "; blocked for " in warning
        assert warning.endswith(f" by step http of pipeline top level; oldest event {poisoned}, orders 42")
        assert warning in json.loads((await lab.get(relay, "/status"))[1])["warnings"][0]
        lab.receiver.respond = None
        await until(lambda: not relay.status.warnings(), "no warning any more", 30)
        await lab.receiver.wait_for_events(260)


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
async def test_one_tenants_path_that_is_down_holds_up_no_other_tenant_and_costs_nothing(
    lab: Lab, batch: bool, status: int
) -> None:
    """Each rendered endpoint has a circuit breaker of its own."""
    down = True

    def respond(request: Request) -> Answer:
        return Answer(status) if down and request.path.endswith("/b") else Answer()

    lab.receiver.respond = respond
    step = webhook(lab, batch=batch)
    step["config"]["endpoint"] += "/{fullDocument.tenant}"
    async with lab.running(pipeline=[step]) as relay:
        end, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            lab.db.orders.insert_many([{"_id": number + n, "tenant": "abc"[n % 3]} for n in range(9)])
            number += 9
            others = {n for n in range(number) if n % 3 != 1}
            await until(lambda: taken(lab) == others, "what is for the other tenants", 5)  # noqa: B023 - awaited here
        [problem] = relay.status.sink_problems()
        assert f"one destination is down: answered {status}" in problem
        assert (await lab.get(relay, "/readyz"))[0] == 200
        assert await lab.dead_letters() == []
        down = False
        await until(lambda: taken(lab) == set(range(number)), lambda: f"{len(taken(lab))} of {number}", 20)
        assert relay.status.sink_problems() == []
    assert await lab.dead_letters() == []
    for request in lab.receiver.requests:
        assert {event.body["fullDocument"]["tenant"] for event in request.events} == {request.path[-1]}
