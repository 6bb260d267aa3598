"""Why nothing may be delivered at present, in a sentence that says what helps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from mess.leadership import Leadership, now
from mess.relay.ha.lapse import lapse
from mess.relay.ha.role import Role
from mess.relay.kafka.group import KafkaGroup, KafkaPartition
from mess.relay.waits import waits
from tests.unit.fakes import Recorder, make_events
from tests.unit.relay.line import Line

SINCE = datetime(2026, 11, 28, tzinfo=timezone.utc)
ACTIVE, STANDBY = Role("active", SINCE, 30.0, epoch=7), Role("standby", SINCE, 30.0)
GROUP = KafkaGroup(
    "webhooks", "classic", "m-1", "up", ["shop"], (KafkaPartition("shop", 0),), heartbeat_age=50.0, members=3
)


@pytest.mark.parametrize(
    ("leadership", "role"),
    [(None, None), (Leadership(), None), (Leadership(7, now() + 86_400), ACTIVE), (Leadership(0, now() - 60), STANDBY)],
    ids=["starting", "without ha", "active", "standby"],
)
async def test_a_process_that_may_deliver_or_need_not_has_nothing_to_explain(
    leadership: Leadership | None, role: Role | None
) -> None:
    assert lapse(leadership, role, None) is None


async def test_since_when_and_what_helps() -> None:
    """Of a lease as of a consumer group; a permission that was never given has no end."""
    lost = lapse(Leadership(7, now() - 65), ACTIVE, None)
    assert lost is not None
    assert "not been able to renew its lease" in lost.cause
    assert "(for 65 s)" in lost.text(0.0)
    assert "`state.url`" in lost.text(0.0)
    silent = lapse(Leadership(0, 0.0), None, GROUP)
    assert silent is not None
    assert "Kafka has not answered" in silent.cause
    assert silent.since is None
    joining = KafkaGroup("webhooks", None, None, "init", ["shop"], assigned=(), heartbeat_age=None, members=None)
    assert lapse(Leadership(0, 0.0), None, joining) is None
    assert lapse(Leadership(0, 0.0), None, replace(joining, heartbeat_age=0.5)) is None, "such as without the topic"
    idle = replace(GROUP, assigned=(), heartbeat_age=0.5)
    assert lapse(Leadership(0, 0.0), None, idle) is None, "no partition is left for it"


async def test_steps_with_events_say_the_same() -> None:
    """Rather than that their attempt, which has not begun, has no result; a step without events has nothing to say."""
    leadership = Leadership(7, now() - 5)
    line = Line(Recorder(), leadership=leadership)
    window = SimpleNamespace(oldest=None, blocked_since=None)
    runner: Any = SimpleNamespace(name="shop", window=window, lanes=line.lanes)
    idle = waits([runner], line.runners, None, lapse=lapse(leadership, ACTIVE, None))
    assert idle.steps == {}
    line.feed(make_events(3))
    await asyncio.sleep(0.01)
    [wait] = waits([runner], line.runners, None, lapse=lapse(leadership, ACTIVE, None)).steps.values()
    assert (wait.who, wait.events) == ("step step 0 of pipeline default", 3)
    assert "renew its lease" in wait.cause
    leadership.extend(now() + 60)
    await line.until(3)
    assert waits([runner], line.runners, None, lapse=lapse(leadership, ACTIVE, None)).steps == {}
