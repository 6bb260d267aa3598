"""Texts in documents and answers that once held up the relay for minutes: it goes on at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import running, write
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]

TEXTS = {
    "parameters": "https://x/" + "?password" * 2222,
    "digits": "https://x/" + "0123456789abcdef" * 3750,
    "many parameters": "https://x/" + "?password" * 400_000,
    "users": "://" * 200_000,
    "escapes": "%41&lt;\\u0041" * 100_000,
}
PATIENCE = 25.0
"""Seconds that a careless relay would need many times of, on the slowest machine."""


@pytest.fixture
def config(replica_set: ReplicaSet, db: Db) -> dict[str, Any]:
    """A config without a pipeline."""
    return {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": {"database": f"{db.name}-state"},
        "databases": {db.name: {}},
        "admin": {"port": free_port()},
    }


@asynccontextmanager
async def watched(config: dict[str, Any]) -> AsyncIterator[list[float]]:
    """How long the relay's health check takes, again and again meanwhile; in seconds."""
    found: list[float] = []

    async def ask() -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{config['admin']['port']}") as session:
            while True:
                began = time.monotonic()
                async with session.get("/healthz") as response:
                    assert response.status == 200
                found.append(time.monotonic() - began)
                await asyncio.sleep(0.02)

    task = asyncio.create_task(ask())
    try:
        yield found
        async with asyncio.timeout(PATIENCE / 5):
            while not found:  # noqa: ASYNC110 - an answer on its way may be the one that took long
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_documents(tmp_path: Path, config: dict[str, Any], db: Db) -> None:
    """In the log step, which is the default pipeline; those after them are logged as well, and health is answered."""
    path = write(tmp_path, config)
    async with running(path) as relay:
        await relay.connected()
        began = time.monotonic()
        async with watched(config) as health:
            for name, text in TEXTS.items():
                db.orders.insert_one({"_id": name, "text": text})
            db.orders.insert_one({"_id": "after"})
            await relay.until(lambda: len(relay.said("event")) == len(TEXTS) + 1, "all events")
        assert time.monotonic() - began < PATIENCE
        assert max(health) < PATIENCE / 5
        assert await relay.stop() == 0
    bodies = [str(line["body"]) for line in relay.said("event")]
    assert all(text[:5000] in body.replace("\\\\", "\\") for text, body in zip(TEXTS.values(), bodies, strict=False))


@pytest.mark.parametrize("status", [422, 503])
async def test_answers(tmp_path: Path, config: dict[str, Any], db: Db, status: int) -> None:
    """In the log, the status, and dead letters; with secrets to be searched for, of which they are made."""
    secret = "aaaaaaaaaaaaaaab"
    bodies = [text.encode() for text in (*TEXTS.values(), secret[:-1] * 10_000, "https://x/" + secret * 9000)]
    async with Receiver() as receiver:
        receiver.script.extend(Answer(status, body=body) for body in bodies)
        http = {"name": "http", "config": {"endpoint": receiver.url, "auth": {"bearer": secret}}}
        path = write(tmp_path, {**config, "pipeline": [{**http, "probe": {"cap": "10ms"}}]})
        async with running(path) as relay:
            await relay.connected()
            began = time.monotonic()
            async with watched(config) as health:
                db.orders.insert_many([{"_id": number} for number in range(len(bodies) + 1)])
                await receiver.wait_for(len(bodies) + 1, PATIENCE)
            assert time.monotonic() - began < PATIENCE
            assert max(health) < PATIENCE / 5
            assert await relay.stop() == 0
    assert secret not in relay.text
