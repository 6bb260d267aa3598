"""However many ask for the status, it is made anew only now and then; what each client may see stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mess.admin.api import shared_answers
from mess.relay.status import RelayStatus


async def test_many_clients_share_an_answer_until_something_changes(
    running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_answers, "_SHARE", 1e6)
    made = 0
    find = RelayStatus.waits

    def counted(status: RelayStatus) -> Any:
        nonlocal made
        made += 1
        return find(status)

    monkeypatch.setattr(RelayStatus, "waits", counted)
    token = "correct horse battery"
    async with running(admin={"port": 0, "token": token}) as (_, api):
        answers = await asyncio.gather(*(api.get("/status") for _ in range(20)))
        assert made <= 2, "some may have begun at the same time"
        assert {str(answer) for answer in answers} == {str(answers[0])}
        headers = {"Authorization": f"Bearer {token}", "mess-request": "1"}
        mine = await api.get("/status", headers=headers)
        assert mine[1]["access"]["changes"] is True
        assert answers[0][1]["access"]["changes"] is False
        await api.post("/pause", {"pipeline": "top level"}, headers=headers)
        assert (await api.get("/status"))[1]["pipelines"][0]["state"] == "paused"
