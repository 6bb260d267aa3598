"""The config is rearranged between two runs, in the midst of a load: streams split and merge, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load
from tests.receiver import Receiver
from tests.waiting import until


@pytest.mark.parametrize(
    "kill", [pytest.param(False, marks=pytest.mark.long, id="stopped"), pytest.param(True, id="killed")]
)
async def test_a_rearranged_config_loses_nothing_and_keeps_every_id(setting: Setting, kill: bool) -> None:
    """One stream for the database; one for the collection alone; a glob's; with a match; and the first again."""
    arrangements: list[dict[str, Any]] = [
        {setting.database: {}},
        {setting.database: {"collections": {"counters": {"full_document": "off"}, "others": {}}}},
        {setting.database[:-2] + "*": {}},
        {setting.database: {"match": {"operationType": {"$in": ["insert", "update"]}}}},
        {setting.database: {}},
    ]
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=40, pause=0.05)
    async with Receiver(respond=ledger) as receiver:
        load.start()
        for number, databases in enumerate(arrangements):
            relay = setting.relay(receiver.url, databases=databases, start="oldest")
            async with relay:
                seen = len(ledger.changes)
                await until(lambda: len(ledger.changes) > seen + 400, "more changes", 30)  # noqa: B023 - awaited here
                if number == len(arrangements) - 1:
                    load.finish()
                    await until(lambda: ledger.complete(load), "every change", 90)
                if kill:
                    relay.kill()
                else:
                    assert await relay.stop() == 0
            await asyncio.sleep(0.3)  # changes that no relay sees when they happen
    ledger.check(load)
    assert not setting.dead_letters()
