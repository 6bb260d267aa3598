"""`mess pause` and `mess resume`, as a user types them beside a running relay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from pymongo.database import Database

from tests.acceptance.commands import mess, running
from tests.receiver import Answer, Receiver
from tests.waiting import until

STEP = {"stream": None, "pipeline": "top level", "step": "http"}


async def test_a_step_is_paused_and_resumed(config: Path, db: Database[dict[str, Any]], receiver: Receiver) -> None:
    """Only what the config has; both commands say what they did, in words and as JSON; a second one is told so."""
    receiver.answer = Answer(200)

    async def said(*arguments: Any, code: int = 0) -> str:
        done = await mess(*arguments, "--config", config, folder=config.parent)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    async with running(config) as relay:
        await relay.connected()
        assert "has no step 'htp'" in await said("pause", "--pipeline", "top level", "--step", "htp", code=2)
        assert "nothing is paused" in await said("pause", "--list")
        text = await said("pause", "--step", "http", "--reason", "maintenance")
        assert "step http of pipeline top level pauses within about a second" in text
        assert "mess resume --pipeline 'top level' --step http" in text
        await relay.until(lambda: relay.said("paused"), "the pause")
        assert "has been paused since" in await said("pause", "--step", "http", "--reason", "another")
        [listed] = json.loads(await said("pause", "--list", "--json"))
        assert {name: listed[name] for name in STEP} == STEP
        assert listed["reason"] == "maintenance"
        db.orders.insert_one({"_id": 1})
        await asyncio.sleep(1)
        assert receiver.requests == []
        assert json.loads(await said("resume", "--all", "--json")) == [STEP]
        await until(lambda: len(receiver.requests) == 1, "the event")
        assert "is not paused" in await said("resume", "--step", "http", code=2)
        assert await relay.stop() == 0
