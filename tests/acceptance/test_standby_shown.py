"""What users see of an active process and its standby: on every page and by every command, whichever they ask."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from mess.demo.ports import free_port
from tests.acceptance.commands import Running, mess, running, write
from tests.acceptance.conftest import Db
from tests.receiver import Answer, Receiver
from tests.waiting import until


async def asked(port: int, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as got:
        return got.status, await got.json()


async def ready(relay: Running, port: int, *, role: str) -> dict[str, Any]:
    """What /readyz says as soon as the process is ready in this role."""

    async def look() -> dict[str, Any] | None:
        try:
            code, found = await asked(port, "/readyz")
        except aiohttp.ClientConnectorError:
            return None
        return found if code == 200 and found.get("role", {}).get("name") == role else None

    async with asyncio.timeout(30):
        while (found := await look()) is None:
            assert relay.process.poll() is None, relay.text
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
def port(config: Path) -> int:
    """The admin port of the config, which has a short lease."""
    options: dict[str, Any] = yaml.safe_load(config.read_text())
    write(config.parent, {**options, "ha": {"lease": "2s"}})
    found: int = options["admin"]["port"]
    return found


def with_port(config: Path, port: int) -> Path:
    """A config that differs in its admin port."""
    options = yaml.safe_load(config.read_text())
    path = config.with_name("elsewhere.yml")
    path.write_text(yaml.safe_dump({**options, "admin": {**options["admin"], "port": port}}))
    return path


async def test_an_active_process_and_its_standby(config: Path, port: int, db: Db, receiver: Receiver) -> None:
    """Both are ready, and the standby names the other one; it shows what the state has, and refuses the rest."""
    receiver.answer = Answer(422)
    other = free_port()

    async def said(*arguments: Any, code: int = 0) -> str:
        done = await mess(*arguments, folder=config.parent)
        assert done.returncode == code, done.stderr
        return " ".join((done.stdout + done.stderr).split())

    async with running(config) as first:
        await first.connected()
        active = await ready(first, port, role="active")
        assert active["role"]["active"]["pid"] == first.process.pid
        async with running(config, "--port", str(other)) as second:
            stands_by = await ready(second, other, role="standby")
            assert stands_by["role"]["active"] | {"since": None} == active["role"]["active"] | {"since": None}
            assert stands_by["role"]["active"]["since"] is not None
            db.orders.insert_one({"_id": 1})
            await until(lambda: len(receiver.requests) == 1, "the event")
            admin = f"http://127.0.0.1:{other}"
            host = active["role"]["active"]["host"]
            refused = f"this process is a standby; ask the active one, process {first.process.pid} on host {host}"

            assert f"(epoch {active['role']['epoch']}, lease 2 s)" in await said("status", "--config", config)
            text = await said("status", "--admin", admin)
            assert "ready standby since" in text
            assert f"active: process {first.process.pid} at {host}" in text
            assert "Takes over 2 s after its last sign of life" in text
            assert json.loads(await said("status", "--admin", admin, "--json"))["role"]["name"] == "standby"
            assert refused in await said("tail", "--admin", admin, "--count", "1", code=1)

            async with asyncio.timeout(30):
                while (await asked(other, "/api/v1/dead-letters"))[1]["total"] != 1:  # noqa: ASYNC110 - over HTTP
                    await asyncio.sleep(0.1)
            await said("pause", "--step", "http", "--config", config)
            code, pauses = await asked(other, "/api/v1/pauses")
            assert (code, [each["applies"] for each in pauses["pauses"]]) == (200, [True])
            for path in ("/gaps", "/checkpoints", "/backfills", "/replays", "/config"):
                assert (await asked(other, f"/api/v1{path}"))[0] == 200, path

            elsewhere = with_port(config, other)
            async with asyncio.timeout(30):  # it does not wait for an outcome that the standby would not have
                text = await said("reload", "--config", elsewhere, code=1)
            assert f"process {first.process.pid} on host {host}" in text
            assert "was asked to reload; its log has the outcome" in text

            first.process.send_signal(signal.SIGTERM)
            taken = await ready(second, other, role="active")
            assert taken["role"]["active"]["pid"] == second.process.pid
            assert taken["role"]["epoch"] > active["role"]["epoch"]
            assert await second.stop() == 0
