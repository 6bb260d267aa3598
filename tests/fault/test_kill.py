"""`kill -9` of the relay, again and again under load: nothing lost, order kept, few duplicates."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load, in_order
from tests.receiver import Answer, Receiver
from tests.waiting import until

# Seconds from exec to the kill: some during start-up, which takes about half a second, some in the middle of work, and
# one, counted from the first delivery on, that is long enough for checkpoints to be fresh.
LIVES = (1.1, 0.3, 1.9, 3.5, 0.6, 0.9, 1.4, 0.5)
FRESH = 3.0


@pytest.mark.parametrize(
    ("batch", "state"),
    [
        ({}, "mongodb"),
        ({"batch": {"max_events": 50}}, "mongodb"),
        pytest.param({}, "sqlite", marks=pytest.mark.long),
    ],
    ids=["single", "batch", "sqlite"],
)
async def test_a_relay_killed_at_any_moment_loses_nothing_and_repeats_only_what_no_checkpoint_covers(
    setting: Setting, batch: dict[str, Any], state: str
) -> None:
    """Every change arrives, in order per document and under one id; what each run delivers is in order by itself, and
    lies behind the checkpoint that it found, which is never more than a moment older than the interval."""
    chance = random.Random()
    # Slow enough for a kill to find requests in flight and events waiting.
    ledger = Ledger(Answer(delay=0.005))
    load = Load(setting.url, setting.database, documents=40, pause=0.06)
    async with Receiver(respond=ledger) as receiver:
        options = {"state": {"url": f"sqlite:///{setting.sqlite}"}} if state == "sqlite" else {}
        relay = setting.relay(receiver.url, batch, **options)
        async with relay:
            load.start()
            covered, began = "", len(ledger.entries)
            for life in LIVES:
                if life > FRESH:
                    await until(lambda before=began: len(ledger.entries) > before, "a delivery")
                await asyncio.sleep(life + chance.uniform(-0.1, 0.1))
                relay.kill()
                killed = datetime.now(timezone.utc)
                # What the dead process sent may lie in a socket still.
                await asyncio.sleep(0.1)
                run = ledger.entries[began:]
                assert in_order(run)
                assert all(entry.token > covered for entry in run)
                [checkpoint] = setting.checkpoints()
                if life > FRESH:
                    assert (killed - checkpoint["updated"]).total_seconds() < 2.5
                covered, began = (checkpoint["token"] or {"_data": ""})["_data"], len(ledger.entries)
                await relay.start(ready=False)
            load.finish()
            await until(lambda: ledger.complete(load), "every change", 40)
            assert await relay.stop() == 0
            assert all(entry.token > covered for entry in ledger.entries[began:])
    ledger.check(load)
    assert ledger.duplicates, "no kill hit anything: this test shows nothing"
