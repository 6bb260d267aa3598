"""How far a stream is from the oplog's end: measured on real oplogs, and warned of before changes are lost."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from mess.relay import headroom
from tests.integration.oplogs import oldest_is_founding, small_oplog, with_users, write_megabytes
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Receiver
from tests.waiting import until

GAUGE = re.compile(r'^mess_oplog_headroom_seconds\{stream="[^"]+"\} (\S+)$', re.MULTILINE)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headroom, "_LOOK_EVERY", 0.1)


async def gauge(lab: Lab, relay: Any) -> float | None:
    _, text = await lab.get(relay, "/metrics")
    found = GAUGE.search(text)
    return None if found is None else float(found[1])


async def test_a_stream_that_waits_near_the_end_of_the_oplog_is_warned_of(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """While its receiver is down, the oplog rolls on towards its position.

    /readyz, /status and the log say so, the log once in ten minutes. The relay stays ready: nothing is lost yet.
    """
    with small_oplog() as replica_set, MongoClient[dict[str, Any]](replica_set.url, tz_aware=True) as client:
        lab = Lab(replica_set.url, client["shop"], tmp_path, receiver)
        receiver.answer = Answer(503)
        async with lab.running(state={"url": f"sqlite:///{tmp_path}/state.db"}) as relay:
            client.shop.orders.insert_one({"_id": 1})
            await until(lambda: relay.oplog is not None and relay.oplog._oplog is not None, "a look at the oplog")
            before = await gauge(lab, relay)
            assert before is not None
            assert before >= 0
            assert relay.status.warnings() == []

            await asyncio.sleep(1.5)  # cluster times are whole seconds
            while oldest_is_founding(client):
                await asyncio.to_thread(write_megabytes, client, 2)
            await until(relay.status.warnings, "the warning")
            status, text = await lab.get(relay, "/readyz")
            assert status == 200
            [warning] = [each for each in json.loads(text)["warnings"] if "oplog" in each]
            assert warning.startswith("stream shop is ")
            assert "replSetResizeOplog" in warning
            after = await gauge(lab, relay)
            assert after is not None
            assert after < before + 1
            _, text = await lab.get(relay, "/status")
            [stream] = json.loads(text)["streams"]
            assert stream["oplog_headroom_seconds"] == after
            await asyncio.sleep(0.5)  # several looks, one line
            receiver.answer = Answer()
    assert capsys.readouterr().out.count("from the end of MongoDB's oplog") == 1


async def test_a_young_oplog_is_no_reason_to_warn(lab: Lab) -> None:
    """However near the position is to its beginning."""
    async with lab.running() as relay:
        await until(lambda: relay.oplog is not None and relay.oplog._oplog is not None, "a look at the oplog")
        value = await gauge(lab, relay)
        assert value is not None
        assert value >= 0
        assert relay.status.warnings() == []


async def test_a_user_who_may_not_read_the_oplog(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """The metric is absent, and one line says so."""
    with with_users(tmp_path) as (node, url), MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        roles = ["read", "readWrite"]
        client.shop.command("createUser", "poor", pwd="secret", roles=roles)
        lab = Lab(
            f"mongodb://poor:secret@{node.address}/?replicaSet=rs0&authSource=shop",
            client["shop"],
            tmp_path,
            receiver,
        )
        async with lab.running(state={"url": f"sqlite:///{tmp_path}/state.db"}) as relay:
            await asyncio.sleep(0.5)
            assert await gauge(lab, relay) is None
            _, text = await lab.get(relay, "/status")
            assert json.loads(text)["streams"][0]["oplog_headroom_seconds"] is None
    assert capsys.readouterr().out.count("mess_oplog_headroom_seconds is absent") == 1


async def test_lag_is_measured_by_the_servers_clock(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this host's clock jumps by an hour, lag does not."""
    async with lab.running() as relay:
        lab.db.orders.insert_one({"_id": 1})
        await lab.receiver.wait_for_events(1)
        true_time = time.time
        for jump in (3600, -3600):
            monkeypatch.setattr(time, "time", lambda jump=jump: true_time() + jump)
            [stream] = relay.status.streams()
            assert stream.lag is not None
            assert 0 <= stream.lag < 60
        monkeypatch.setattr(time, "time", true_time)
