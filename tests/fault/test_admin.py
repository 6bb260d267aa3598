"""Clients that hold connections to the admin port: delivery goes on, and probes are answered."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pymongo import MongoClient

from tests.fault.conftest import Setting
from tests.fault.flood import flooding
from tests.receiver import Receiver
from tests.waiting import until

CLIENTS = 1000


@pytest.mark.parametrize(
    ("data", "drop"),
    [
        pytest.param(b"", b"", id="idle"),
        pytest.param(b"GET /status HTTP/1.1\r\nHost: localhost\r\n", b"X-Slow: 1\r\n", id="slow headers"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n", b"a", id="slow body"),
    ],
)
async def test_a_thousand_idle_connections_stop_neither_delivery_nor_probes(
    setting: Setting, mongo: MongoClient[dict[str, Any]], data: bytes, drop: bytes
) -> None:
    """Under `ulimit -n 1024`, events are delivered as promptly as ever and /healthz answers within three seconds, while
    as many clients as they can keep opening connections and hold them."""
    collection = mongo[setting.database].orders
    async with Receiver() as receiver:
        relay = setting.relay(receiver.url, descriptors=1024)
        async with relay, flooding(relay.port, CLIENTS, data, drop):
            await asyncio.sleep(2)
            for n in range(1, 6):
                collection.insert_many([{"n": n} for _ in range(50)])
                began = time.monotonic()
                assert (await relay.get("/healthz"))[0] == 200
                assert time.monotonic() - began < 3
                await until(lambda n=n: len(receiver.requests) == 50 * n, "the events", 5)
            assert relay.open_files < 300
            assert await relay.stop() == 0
    worse = [line for line in relay.logs if line["level"] in ("warning", "error")]
    assert not worse, worse[0].get("exception")


async def test_the_relay_may_open_as_many_files_as_the_system_allows(setting: Setting) -> None:
    """The soft limit, which many systems set to 1,024, is raised to the hard one at the start."""
    async with Receiver() as receiver:
        relay = setting.relay(receiver.url, descriptors=(256, 4096))
        async with relay:
            assert relay.limit("Max open files") == (4096, 4096)
