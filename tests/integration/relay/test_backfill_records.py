"""What a running relay says of its backfills."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from mess.event import Namespace
from mess.state import Backfill
from mess.stores import store_for
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.waiting import PATIENCE, until

NOW = datetime.now(timezone.utc)


async def test_a_backfill_says_which_other_one_it_waits_for(lab: Lab) -> None:
    """Not an empty reason, however long the first one takes; and no longer when that has been read."""
    lab.receiver.respond = lambda request: Answer(503)
    lab.db.first.insert_many([{"_id": n} for n in range(3000)])
    lab.db.second.insert_one({"_id": 1})
    async with store_for(lab.relay().config) as store:
        for index, name in enumerate(("first", "second")):
            namespace = Namespace(lab.db.name, name)
            await store.add_backfill(Backfill(f"bf_{name}", namespace, "operator", NOW + timedelta(seconds=index)))
        async with lab.running() as relay:

            def waits() -> bool:
                [_, second] = relay.status.status()["backfills"] or [{}, {}]
                return "first bf_first" in str(second.get("reason"))

            await until(waits, "the reason")
            lab.receiver.respond = lambda request: Answer()
            await until(lambda: not relay.status.status()["backfills"], "both are done")
        assert {(each.progress.state, each.progress.reason) for each in await store.backfills()} == {("done", None)}


async def test_a_damaged_record_is_a_warning_until_it_is_removed(lab: Lab) -> None:
    """The relay stays ready, and the remedy is in /readyz."""
    state = lab.db.client[f"{lab.db.name}-state"]
    async with store_for(lab.relay().config) as store, lab.running() as relay:
        await store.add_backfill(Backfill("bf_1", Namespace(lab.db.name, "orders"), "operator", NOW, wanted="paused"))
        state.backfills.update_one({}, {"$set": {"rate": 0}})
        await until(lambda: "deleteOne" in " ".join(relay.status.warnings()), "the warning")
        assert relay.status.problems() == []
        state.backfills.delete_many({})
        await until(lambda: relay.status.warnings() == [], "its end")


async def failed_alone(lab: Lab, match: str) -> str:
    """Why a backfill with this match fails, while another one is done."""
    async with store_for(lab.relay().config) as store:
        for name, each in (("bf_1", match), ("bf_2", None)):
            await store.add_backfill(Backfill(name, Namespace(lab.db.name, "orders"), "operator", NOW, match=each))
        async with lab.running():
            await lab.receiver.wait_for_events(1)
            async with asyncio.timeout(PATIENCE):
                while not all(each.ended for each in await store.backfills()):  # noqa: ASYNC110 - the store says nothing
                    await asyncio.sleep(0.05)
        failed, done = await store.backfills()
    assert (failed.progress.state, done.progress.state) == ("failed", "done")
    return str(failed.progress.reason)


@pytest.mark.parametrize("match", ['{"a": {"$oid": "zz"}}', '{"a": "\\ud800"}', f'{{"a": {2**70}}}'])
async def test_a_match_edited_by_hand_fails_alone(lab: Lab, match: str) -> None:
    """MongoDB cannot even be asked. Changes and other backfills go on."""
    lab.db.orders.insert_one({"_id": 1})
    reason = await failed_alone(lab, match)
    assert "its --match: " in reason


async def test_a_wrong_match_fails_with_a_remedy_that_works(lab: Lab) -> None:
    """What is stored with a backfill cannot be fixed, so resuming is not the only advice. Others go on."""
    lab.db.orders.insert_one({"_id": 1})
    wrong = '{"$expr": {"$gt": [{"$toInt": "$operationType"}, 0]}}'
    reason = await failed_alone(lab, wrong)
    assert ". If its --match is wrong, start another one. Once that" in reason
    assert ".. " not in reason
