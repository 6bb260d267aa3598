"""What users see of several processes: on the pages and in the API of a relay that has a role, or is in a group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mess import leadership
from mess.admin import AdminServer
from mess.app import Relay
from mess.capture.source import Connection, StoppedSource
from mess.config.load import load
from mess.leadership import Leadership
from mess.relay.checkpointer import Progress
from mess.relay.ha.role import Role
from mess.relay.kafka.group import KafkaGroup, KafkaPartition
from mess.relay.window import Window
from mess.state.instance import Instance
from mess.state.lease import Presence
from mess.state.pauses import Pause, Target
from mess.stores import store_for

SINCE = datetime(2026, 11, 28, 12, 0, 0, tzinfo=timezone.utc)
OTHER = Presence(Instance("i-1", "ops-1", 4711), SINCE, 0.4)
STANDBY = Role("standby", SINCE, 30.0, active=OTHER)
ACTIVE = Role("active", SINCE, 30.0, epoch=7)
PARTITIONS = (KafkaPartition("shop", 3, lag=120, committed=880, end=1000), KafkaPartition("shop", 4))
GROUP = KafkaGroup("webhooks", "consumer", "m-1", "up", ["shop"], PARTITIONS, 0.5, 3, partitions=12, rebalances=2)
CHANGE = {"mess-request": "1"}


class Shown(Relay):
    """A relay that does not run, with whatever role, permission and group a test gives it."""

    role: Role | None = None
    leadership: Leadership | None = None
    group: KafkaGroup | None = None
    sources: Sequence[Connection] = ()
    progress: Sequence[Progress] = ()


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Shown]:
    """With a state, as a standby has it."""
    config = tmp_path / "config.yml"
    config.write_text(
        "databases: {shop: {}}\npipeline: [{name: log}]\nadmin: {port: 0}\n"
        f"state: {{url: 'sqlite:///{tmp_path / 'state.db'}'}}\n"
    )
    relay = Shown(load(config))
    async with store_for(relay.config) as store:
        relay.store = store
        yield relay


@pytest.fixture
async def http(relay: Shown) -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer("127.0.0.1", 0, relay.status, relay, relay=relay)
    await server.start()
    async with aiohttp.ClientSession(server.url) as session:
        yield session
    await server.stop()


async def get(http: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with http.get(path) as got:
        return got.status, await got.json()


async def test_a_standby_is_ready_and_says_who_is_active(relay: Shown, http: aiohttp.ClientSession) -> None:
    """On every page that shows the relay; whoever starts, by contrast, is not ready."""
    assert (await get(http, "/readyz"))[0] == 503
    relay.role = STANDBY
    active = {"id": "i-1", "host": "ops-1", "pid": 4711, "since": "2026-11-28T12:00:00+00:00"}
    code, ready = await get(http, "/readyz")
    assert (code, ready["ready"], ready["role"]["name"], ready["role"]["active"]) == (200, True, "standby", active)
    assert (await get(http, "/healthz"))[0] == 200
    flat, api = (await get(http, "/status"))[1], (await get(http, "/api/v1/status"))[1]
    assert flat["role"]["active"] == active
    assert flat["role"].keys() == api["role"].keys()
    assert (api["ready"], api["role"]["name"], api["role"]["epoch"], api["role"]["lease_seconds"]) == (
        True,
        "standby",
        0,
        30.0,
    )
    async with http.get("/metrics") as got:
        assert 'mess_active{relay="mess"} 0.0' in await got.text()


async def test_a_standby_that_could_not_take_over_is_not_ready(relay: Shown, http: aiohttp.ClientSession) -> None:
    """It has not found out yet who is active, or cannot any more."""
    relay.role, relay.starting = Role("standby", SINCE, 30.0), "MongoDB cannot be reached"
    code, ready = await get(http, "/readyz")
    assert (code, ready["reasons"]) == (503, ["MongoDB cannot be reached"])
    relay.role = Role("standby", SINCE, 30.0, active=OTHER, problem="cannot find out who is active: no answer in time")
    code, ready = await get(http, "/readyz")
    assert (code, ready["reasons"]) == (503, [relay.role.problem])


async def test_the_active_process_names_itself(relay: Shown, http: aiohttp.ClientSession) -> None:
    """Since when, and under which epoch its requests go out."""
    relay.role, relay.starting, relay.leadership = ACTIVE, None, Leadership(7, leadership.now() + 24)
    role = (await get(http, "/api/v1/status"))[1]["role"]
    assert (role["name"], role["epoch"], role["active"]["id"]) == ("active", 7, relay.instance.id)
    assert (await get(http, "/readyz"))[0] == 200
    async with http.get("/metrics") as got:
        lines = (await got.text()).splitlines()
    assert 'mess_lease_epoch{relay="mess"} 7.0' in lines
    assert 'mess_active{relay="mess"} 1.0' in lines
    relay.leadership = Leadership(7, leadership.now() - 1)  # another one may be active
    async with http.get("/metrics") as got:
        assert 'mess_active{relay="mess"} 0.0' in (await got.text()).splitlines()
    [left] = [float(line.split()[1]) for line in lines if line.startswith("mess_lease_remaining_seconds{")]
    assert 23 < left <= 24


async def test_whoever_cannot_renew_its_lease_is_not_ready(relay: Shown, http: aiohttp.ClientSession) -> None:
    """It delivers nothing, and says since when, why, and what helps."""
    relay.role, relay.starting, relay.leadership = ACTIVE, None, Leadership(7, leadership.now() - 65)
    code, ready = await get(http, "/readyz")
    assert (code, ready["ready"]) == (503, False)
    [reason] = ready["reasons"]
    assert reason.startswith("deliveries wait: this process has not been able to renew its lease")
    assert "for 65 s" in reason
    assert "continues by itself once the state can be written" in reason
    assert (await get(http, "/api/v1/status"))[1]["problems"] == [reason]


async def test_a_standbys_lease_is_not_expected_to_hold(relay: Shown, http: aiohttp.ClientSession) -> None:
    """Its permission has not been given yet."""
    relay.role, relay.leadership = STANDBY, Leadership(0, 0.0)
    assert (await get(http, "/readyz"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/pause", {"pipeline": "top level"}),
        ("POST", "/resume", {"pipeline": "top level"}),
        ("POST", "/backfills/b1", {"wanted": "paused"}),
        ("POST", "/dead-letters/replay", {"all": True}),
        ("POST", "/dead-letters/discard", {"all": True}),
        ("POST", "/try", {"event": {}}),
        ("GET", "/events", None),
        ("GET", "/events/msg_" + "A" * 52, None),
    ],
)
async def test_what_needs_the_active_process_is_refused_by_a_standby(
    relay: Shown, http: aiohttp.ClientSession, method: str, path: str, body: Any
) -> None:
    """It names the process to ask, if one is known."""
    relay.role = STANDBY
    async with http.request(method, f"/api/v1{path}", json=body, headers=CHANGE) as got:
        assert got.status == 409
        assert (await got.json())["error"] == (
            "this process is a standby; ask the active one, process 4711 on host ops-1"
        )
    relay.role = Role("standby", SINCE, 30.0)
    async with http.request(method, f"/api/v1{path}", json=body, headers=CHANGE) as got:
        assert "no process is known to be active" in (await got.json())["error"]


@pytest.mark.parametrize(
    "path", ["/streams", "/pipelines", "/dead-letters", "/replays", "/backfills", "/gaps", "/checkpoints", "/config"]
)
async def test_what_the_state_knows_a_standby_knows(relay: Shown, http: aiohttp.ClientSession, path: str) -> None:
    """Operators may look at any process."""
    relay.role = STANDBY
    assert (await get(http, f"/api/v1{path}"))[0] == 200


async def test_a_standby_shows_pauses_and_whether_the_config_has_their_targets(
    relay: Shown, http: aiohttp.ClientSession
) -> None:
    """Although it runs none of them."""
    relay.role = STANDBY
    assert relay.store is not None
    targets = (Target(pipeline="top level", step="log"), Target(pipeline="gone"), Target(stream="shop"))
    for target in targets:
        await relay.store.pause(Pause.now(target, "mia"))
    _, found = await get(http, "/api/v1/pauses")
    applies = {each["target"]["pipeline"] or each["target"]["stream"]: each["applies"] for each in found["pauses"]}
    assert applies == {"top level": True, "gone": False, "shop": True}


async def test_a_kafka_worker_shows_its_group(relay: Shown, http: aiohttp.ClientSession) -> None:
    """The same on both pages: members, and the lag of each partition that is its own."""
    relay.starting, relay.group = None, GROUP
    _, api = await get(http, "/api/v1/status")
    group = api["group"]
    assert group == (await get(http, "/status"))[1]["group"]
    assert (group["name"], group["protocol"], group["members"], group["partitions"]) == ("webhooks", "consumer", 3, 12)
    assert (group["lag"], group["rebalances"], group["heartbeat_age_seconds"]) == (120, 2, 0.5)
    assert group["assigned"][0] == {"topic": "shop", "partition": 3, "lag": 120, "committed": 880, "end": 1000}
    assert group["assigned"][1]["lag"] is None
    assert api["role"] is None
    assert (await get(http, "/readyz"))[0] == 200


async def test_a_kafka_worker_without_heartbeats_is_not_ready(relay: Shown, http: aiohttp.ClientSession) -> None:
    """Nor is one that has not joined its group yet."""
    relay.starting, relay.group, relay.leadership = None, GROUP, Leadership(0, leadership.now() - 5)
    code, ready = await get(http, "/readyz")
    assert code == 503
    assert ready["reasons"][0].startswith("deliveries wait: Kafka has not answered this member's heartbeats")
    relay.leadership = None
    relay.group = KafkaGroup("webhooks", None, None, "join", ["shop"], (), None, None)
    code, ready = await get(http, "/readyz")
    assert (code, ready["reasons"]) == (503, ["Kafka: this process is not in the group webhooks at present (join)"])
    relay.group = replace(relay.group, problem="topic shop does not exist")
    code, ready = await get(http, "/readyz")
    assert ready["reasons"] == [
        "Kafka: this process is not in the group webhooks at present: topic shop does not exist"
    ]
    relay.group = replace(GROUP, problem="topic shop does not exist")
    code, ready = await get(http, "/readyz")
    assert (code, ready["warnings"]) == (200, ["Kafka: topic shop does not exist"])


async def test_a_reason_that_many_streams_have_is_given_once(relay: Shown, http: aiohttp.ClientSession) -> None:
    """A worker whose brokers are down has it for each of its partitions."""
    down, gone = "Kafka at broker:9092 cannot be reached", "records were deleted"
    problems = {f"changes/{number}": down for number in range(12)} | {"other/0": gone, "other/1": None}
    window = Window(10, 1000, lambda event: event.position)
    relay.starting = None
    relay.progress = [Progress(stream=name, plan="", window=window) for name in problems]
    relay.sources = [StoppedSource(name, problem) for name, problem in problems.items()]
    code, ready = await get(http, "/readyz")
    assert (code, ready["reasons"]) == (
        503,
        [f"streams changes/0, changes/1, changes/2 and 9 more: {down}", f"stream other/0: {gone}"],
    )
    relay.progress, relay.sources = relay.progress[:2], relay.sources[:2]
    assert (await get(http, "/readyz"))[1]["reasons"] == [f"streams changes/0, changes/1: {down}"]
    relay.group = replace(GROUP, member=None, problem=down)
    assert (await get(http, "/readyz"))[1]["reasons"] == [
        f"Kafka: this process is not in the group webhooks at present: {down}"
    ]
