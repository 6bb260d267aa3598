"""Operators stop parts of a relay for a while; nothing is lost meanwhile, and everyone can see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.relay.conftest import Lab
from tests.waiting import until

STEP = {"pipeline": "top level", "step": "http"}


@pytest.mark.parametrize("target", [STEP, {"pipeline": "top level"}, "stream"])
@pytest.mark.parametrize("state", ["mongodb", "sqlite"])
async def test_what_is_paused_waits_across_restarts_and_continues_in_order(
    lab: Lab, running: Callable[..., Any], target: Any, state: str
) -> None:
    """A paused step, pipeline or stream delivers nothing, says so everywhere, and loses nothing."""
    options: dict[str, Any] = {} if state == "mongodb" else {"state": {"url": f"sqlite:///{lab.folder}/state.db"}}
    if target == "stream":
        target = {"stream": lab.db.name}
    async with running(**options) as (relay, api):
        lab.db.orders.insert_one({"_id": 0})
        await until(lambda: len(lab.receiver.requests) == 1, "the first event")
        found = await api.ok("/pause", {**target, "reason": "maintenance"})
        assert [each["target"] for each in found["pauses"]] == [
            {"stream": None, "pipeline": None, "step": None, **target}
        ]
        if "stream" in target:
            await asyncio.sleep(1.2)  # what the stream is waiting for when it is paused still comes
        lab.db.orders.insert_many([{"_id": number} for number in range(1, 30)])
        await asyncio.sleep(1.5)
        assert len(lab.receiver.requests) <= (2 if "stream" in target else 1)
        _, ready = await lab.get(relay, "/readyz")
        assert "maintenance" in ready
    before = len(lab.receiver.requests)

    async with running(**options) as (relay, api):
        await asyncio.sleep(1.5)
        assert len(lab.receiver.requests) == before
        status = await api.ok("/status")
        part = status["streams"][0] if "stream" in target else status["pipelines"][0]["steps"][0]
        assert part["state"] == "paused"
        assert part["wait"]["text"].endswith("MongoDB's oplog keeps the changes meanwhile")
        if "stream" not in target:
            assert part["wait"]["events"] == 29
            assert part["wait"]["oldest"]["namespace"] == f"{lab.db.name}.orders"
        await api.ok("/resume", target)
        await until(lambda: len(lab.receiver.requests) == 30, "the others")
    ids = [request.json["documentKey"]["_id"] for request in lab.receiver.requests]
    assert sorted(ids) == [*range(30)]


async def test_a_pause_that_cannot_take_effect_is_not_said_to(lab: Lab, running: Callable[..., Any]) -> None:
    """While a record is damaged, none is followed: the answer says so, and which one is at fault."""
    async with running() as (_, api):
        records = lab.db.client[f"{lab.db.name}-state"].pauses
        await asyncio.to_thread(records.insert_one, {"_id": "damaged", "relay": lab.db.name, "pipeline": 1})
        for call in ("/pause", "/resume"):
            status, answer = await api.post(call, STEP)
            assert status == 503
            assert "does not take effect yet" in answer["error"]
            assert "'damaged'" in answer["error"]
        await asyncio.to_thread(records.delete_one, {"_id": "damaged"})
        assert (await api.ok("/pause", STEP))["pauses"]
