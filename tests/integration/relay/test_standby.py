"""Two relays of one name under `ha`, in one process: a lease does not depend on processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mess import Relay
from mess.errors import StateError
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer
from tests.waiting import PATIENCE, until

HA: dict[str, Any] = {"ha": {"lease": "1s"}}


@asynccontextmanager
async def standing_by(relay: Relay, **options: Any) -> AsyncIterator[Relay]:
    """A relay that waits for the lease; stopped in order in the end."""
    task = asyncio.create_task(relay.run(**options))
    try:
        await until(lambda: task.done() or is_role(relay, "standby") or is_role(relay, "active"), "a role")
        yield relay
    finally:
        relay.stop()
        async with asyncio.timeout(PATIENCE):
            await task


def is_role(relay: Relay, name: str) -> bool:
    return relay.role is not None and relay.role.name == name


@pytest.fixture(params=["mongodb", "sqlite"])
def ha(request: pytest.FixtureRequest, lab: Lab) -> dict[str, Any]:
    """Options with the state in either place."""
    if request.param == "mongodb":
        return HA
    return {**HA, "state": {"url": f"sqlite:///{lab.folder}/state.db"}}


async def test_a_handover_in_order(lab: Lab, ha: dict[str, Any]) -> None:
    """Each knows its role. The one that hands over delivers nothing more, the other one nothing twice, with a greater
    epoch; and it goes back in the same way."""
    ha = {**ha, "ha": {"lease": "5s"}}  # one that has lapsed, on a busy machine, repeats what it could not checkpoint
    async with lab.running(**ha) as one:
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        assert one.role is not None
        assert one.role.name == "active"
        assert one.role.active is not None
        assert one.role.active.instance == one.instance
        before = one.instance
        async with standing_by(lab.relay(**ha), take_over=True) as other:
            async with asyncio.timeout(PATIENCE):
                await other.ready()
            await until(lambda: is_role(one, "standby") and one.role.active is not None, "the first one's new role")
            assert other.role is not None
            assert one.role.active.instance == other.instance
            assert one.instance != before, "a new run"
            lab.db.orders.insert_one({"_id": 2})
            await lab.receiver.wait_for_events(2)
            epochs = [int(request.headers["mess-epoch"]) for request in lab.receiver.requests]
            assert epochs[0] < epochs[1] == other.role.epoch
        async with asyncio.timeout(PATIENCE):
            await one.ready()
        lab.db.orders.insert_one({"_id": 3})
        events = await lab.receiver.wait_for_events(3)
        assert [event.body["documentKey"]["_id"] for event in events] == [1, 2, 3]


async def test_a_state_that_is_deleted_loses_no_event(lab: Lab) -> None:
    """The active process writes it again, with its positions. A standby, which knows none, lets it do that."""
    lab.receiver.answer = Answer(503)
    async with lab.running(**HA) as one:
        lab.db.orders.insert_many([{"_id": number} for number in range(20)])
        await lab.receiver.wait_for(1)
        other = lab.relay(**HA)
        async with standing_by(other):
            await until(lambda: other.role is not None and other.role.active is not None, "the active process")
            lab.db.client.drop_database(f"{lab.db.name}-state")
            await asyncio.sleep(2.5)
            assert is_role(one, "active")
            assert is_role(other, "standby")
            lab.receiver.answer = Answer()

            def delivered() -> set[int]:
                return {event.body["documentKey"]["_id"] for event in lab.receiver.accepted}

            await until(lambda: delivered() == set(range(20)), "all events")


async def test_no_process_begins_anew_when_the_state_file_is_deleted(lab: Lab) -> None:
    """Each ends with an error, as without `ha`: a new file has no positions."""
    path = lab.folder / "state.db"
    options = {**HA, "state": {"url": f"sqlite:///{path}"}}
    lab.receiver.answer = Answer(503)
    relays = [lab.relay(**options), lab.relay(**options)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        await until(lambda: {relay.role and relay.role.name for relay in relays} == {"active", "standby"}, "both roles")
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for(1)
        for each in lab.folder.glob("state.db*"):
            each.unlink()
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for relay in relays:
            relay.stop()
    assert all(isinstance(end, StateError) and "was deleted or moved" in str(end) for end in ends), ends
    assert not path.exists()


async def test_a_standby_reloads_its_config(lab: Lab) -> None:
    """It takes over with what was reloaded; a mistake changes nothing."""
    async with lab.running(**HA) as one:
        other = lab.relay(**HA)
        async with standing_by(other):
            lab.write("{", "config.json")
            result = await other.reload()
            assert not result.ok
            lab.write(
                json.dumps(lab.config(**HA, databases={lab.db.name: {"collections": {"orders": {}}}})), "config.json"
            )
            result = await other.reload()
            assert result.ok, result.text
            assert other.last_reload == result
            await until(lambda: is_role(other, "standby"), "that it stands by again")
            one.stop()
            async with asyncio.timeout(PATIENCE):
                await other.ready()
            assert [str(plan.selection) for plan in other.plans] == [f"{lab.db.name}.orders"]
