"""docs/kafka.md, as a reader follows it: its two configs, with the addresses of the test's own servers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running
from tests.acceptance.conftest import Db
from tests.receiver import Answer, Receiver
from tests.servers.kafka import KafkaServer

GUIDE = Path(__file__).parents[2] / "docs" / "kafka.md"


class Guide(NamedTuple):
    """The files that the guide tells to save."""

    capture: Path
    workers: Path


@pytest.fixture
def guide(tmp_path: Path, replica_set: ReplicaSet, kafka_server: KafkaServer, db: Db, receiver: Receiver) -> Guide:
    """With this test's database in place of `shop`, so that topics, group and names are its own, too."""
    receiver.answer = Answer()
    text = GUIDE.read_text()
    files = re.findall(r"`(\w+\.yml)`[^`]*?:\n\n```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["capture.yml", "workers.yml"]
    for name, config in files:
        own = yaml.safe_load(config.replace("localhost:9092", kafka_server.address).replace("shop", db.name))
        own["state"] = {**own.get("state", {}), "database": f"{db.name}-state"}
        (tmp_path / name).write_text(yaml.safe_dump(own))
    (tmp_path / ".env").write_text(f"MONGODB_URL={replica_set.url}\nWEBHOOK_URL={receiver.url}\n")
    kafka_server.create(f"changes.{db.name}")
    return Guide(tmp_path / "capture.yml", tmp_path / "workers.yml")


def port() -> tuple[str, str]:
    return "--port", str(free_port())


async def test_changes_go_through_kafka_to_the_webhook(guide: Guide, db: Db, receiver: Receiver) -> None:
    """Both configs are valid, and `mess check` finds everything there; two workers deliver each change, and those of a
    document in order."""
    for config in (guide.capture, guide.workers):
        done = await mess("validate", "--config", config, folder=config.parent)
        assert (done.returncode, "warning" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
        done = await mess("check", "--config", config, folder=config.parent)
        assert done.returncode == 0, done.stdout + done.stderr
    async with (
        running(guide.capture, *port()) as capture,
        running(guide.workers, *port()) as first,
        running(guide.workers, *port()) as second,
    ):
        await capture.connected()
        for number in range(20):
            db.orders.insert_one({"_id": number, "step": 1})
            db.orders.update_one({"_id": number}, {"$set": {"step": 2}})
        events = await receiver.wait_for_events(40, timeout=60)
        orders: dict[int, list[str]] = {}
        for event in events:
            orders.setdefault(event.body["documentKey"]["_id"], []).append(event.body["operationType"])
        assert orders == {number: ["insert", "update"] for number in range(20)}
        assert len({event.id for event in events}) == 40
        for relay in (first, second, capture):
            assert await relay.stop() == 0, relay.text
