"""Why the relay waits: one sentence, the same in the API, on /readyz and in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mess.relay import status
from tests.integration.admin.conftest import Api, eventually
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Request


async def wait_of(api: Api, part: str = "step") -> dict[str, Any] | None:
    """Why the step, its pipeline or its stream waits, once it does."""
    status = await api.ok("/status")
    [pipeline], [stream] = status["pipelines"], status["streams"]
    found: dict[str, Any] | None = {"step": pipeline["steps"][-1], "pipeline": pipeline, "stream": stream}[part]["wait"]
    return found


@pytest.mark.parametrize(
    ("answer", "cause", "remedy"),
    [
        (Answer(503), "the sink is down: ", "continues by itself"),
        (Answer(401), "the sink is down: ", "correct the credentials"),
        (Answer(404), "the sink is down: ", "correct the endpoint"),
        (Answer(429, {"Retry-After": "60"}), "the sink is down: ", "rate_limit"),
        (Answer(hang=True), "the attempt under way has no result", "slow"),
    ],
)
async def test_a_step_that_waits_says_for_what_since_when_and_what_helps(
    lab: Lab, running: Callable[..., Any], answer: Answer, cause: str, remedy: str
) -> None:
    lab.receiver.answer = answer
    async with running() as (relay, api):
        lab.db.orders.insert_many([{"_id": number} for number in range(20)])

        async def waits() -> Any:
            wait = await wait_of(api)
            return wait if wait is not None and wait["events"] == 20 and wait["cause"].startswith(cause) else None

        wait = await eventually(waits, "the reason")
        assert remedy in wait["remedy"]
        assert wait["oldest"]["namespace"] == f"{lab.db.name}.orders"
        assert wait["text"].startswith("step http of pipeline top level: ")
        assert "20 events wait" in wait["text"]
        if answer.status == 429:
            assert wait["next_attempt_seconds"] > 30
        elif not answer.hang:
            assert 0 <= wait["next_attempt_seconds"] < 30
            assert wait["since"] is not None
        if not answer.hang:
            _, ready = await lab.get(relay, "/readyz")
            [said] = json.loads(ready)["warnings"]
            assert wait["cause"] in said
            assert "20 events wait" in said
        pipeline = await wait_of(api, "pipeline")
        assert pipeline is not None
        assert pipeline["cause"].startswith(cause)
        lab.receiver.answer = Answer()
        if not answer.hang and answer.status != 429:

            async def flows() -> bool:
                return await wait_of(api) is None

            await eventually(flows, "no reason any more")


async def test_a_full_stream_names_the_step_that_holds_it_up(lab: Lab, running: Callable[..., Any]) -> None:
    lab.receiver.answer = Answer(503)
    async with running(window={"max_events": 10}) as (_, api):
        lab.db.orders.insert_many([{"_id": number} for number in range(50)])

        async def full() -> Any:
            return await wait_of(api, "stream")

        wait = await eventually(full, "the reason")
        assert wait["cause"].startswith("it is full (")
        assert "; step http of pipeline top level: the sink is down" in wait["cause"]
        assert 0 < wait["events"] <= 10


async def test_events_that_fail_alone_are_named(
    lab: Lab, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(request: Request) -> Answer:
        return Answer(500) if request.json["documentKey"]["_id"] == 1 else Answer()

    lab.receiver.respond = respond
    slow = {**lab.http, "retry": {"first": "30s", "cap": "30s"}}
    async with running(pipeline=[slow]) as (relay, api):
        lab.db.orders.insert_many([{"_id": number} for number in range(20)])

        async def waits() -> Any:
            wait = await wait_of(api)
            return wait if wait is not None and wait["events"] == 1 else None

        wait = await eventually(waits, "the reason")
        monkeypatch.setattr(status, "LONG", 0.0)
        _, ready = await lab.get(relay, "/readyz")
        [said] = json.loads(ready)["warnings"]
        assert "1 event waits" in said
        assert "dead-letters list" in said
        assert 10 < wait["next_attempt_seconds"] <= 60
        assert "500" in wait["cause"]


async def test_a_rate_limit_is_a_reason(lab: Lab, running: Callable[..., Any]) -> None:
    async with running(pipeline=[{**lab.http, "rate_limit": 2}]) as (_, api):
        lab.db.orders.insert_many([{"_id": number} for number in range(20)])

        async def waits() -> Any:
            wait = await wait_of(api)
            return wait if wait is not None and wait["cause"] == "its rate_limit" else None

        await eventually(waits, "the reason")
