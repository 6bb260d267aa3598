"""A reload that takes longer than a request to the API."""

from __future__ import annotations

import json

import pytest

from mess.admin.api import settings
from tests.integration.admin.conftest import api_of, eventually
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer


async def test_the_answer_says_that_it_is_still_under_way(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on, and the status has its outcome."""
    monkeypatch.setattr(settings, "_RELOAD_SECONDS", 0.2)
    lab.receiver.answer = Answer(delay=1.5)
    async with lab.running() as relay, api_of(relay) as api:
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for(1)
        lab.write(json.dumps(lab.config(concurrency=2)), "config.json")
        status, answer = await api.post("/reload")
        assert status == 503
        assert "still under way" in answer["error"]

        async def reloaded() -> bool:
            last = (await api.ok("/status"))["last_reload"]
            return last is not None and last["ok"]

        await eventually(reloaded, "the outcome of the reload")
        await lab.receiver.wait_for_events(1)
