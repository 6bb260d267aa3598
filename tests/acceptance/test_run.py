"""`mess run` as a process: how it starts, says what is wrong, and ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from mess.demo.mongod import Mongod, MongodMissing, find_mongod
from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import PATIENCE, mess, running, write
from tests.conftest import server_missing
from tests.integration.history import forget_beginning
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything, unless it is told otherwise."""
    async with Receiver() as found:
        yield found


@pytest.fixture
def config(replica_set: ReplicaSet, db: Db, receiver: Receiver) -> dict[str, Any]:
    """A config that sends every change of that database to the receiver."""
    return {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": {"database": f"{db.name}-state"},
        "databases": {db.name: {}},
        "pipeline": [{"name": "http", "config": {"endpoint": receiver.url}}],
        "admin": {"port": free_port()},
    }


@pytest.fixture
def servers() -> None:
    """Skips where there is no mongod."""
    try:
        find_mongod()
    except MongodMissing as error:
        server_missing(str(error))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(
    tmp_path: Path, config: dict[str, Any], db: Db, receiver: Receiver, number: int
) -> None:
    """Exit 0, with the checkpoint written: nothing comes again after the next start."""
    path = write(tmp_path, {**config, "checkpoint": {"interval": "1h"}})
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        assert await relay.stop(number) == 0, relay.text
        [stopped] = relay.said("stopped")
        assert stopped["changed"] == 1
        assert "Traceback" not in relay.text
        [watching] = relay.said("watching")
        assert watching["streams"] == [f"{db.name}.*"]
        assert receiver.url not in relay.text  # a webhook's path may be a secret
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 2})
        requests = await receiver.wait_for(2)
        assert await relay.stop() == 0
    assert [request.json["documentKey"]["_id"] for request in requests] == [1, 2]


async def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, config: dict[str, Any], db: Db, receiver: Receiver
) -> None:
    """Without waiting for a request in flight; the event comes again after the next start."""
    receiver.script.append(Answer(hang=True))
    path = write(tmp_path, {**config, "shutdown_grace": "1h"})
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for(1)
        relay.process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.create_task(relay.ended())), 0.5)
        assert await relay.stop() == 130
    async with running(path) as relay:
        hung, again = await receiver.wait_for(2, PATIENCE)
        assert again.events[0].id == hung.events[0].id
        assert await relay.stop() == 0


BAD = """\
databases:
  shop: {colections: {}}
pipeline:
  - name: http
    config: {endpiont: "http://127.0.0.1:1"}
start: yesterday
concurrency: many
"""


async def test_every_mistake_in_the_config_is_told_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(BAD)
    for name in ("run", "validate", "check"):
        done = await mess(name, "--config", path, folder=tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        for line, key in ((2, "colections"), (5, "endpiont"), (6, "start"), (7, "concurrency")):
            assert any(f"config.yml:{line}: " in each and key in each for each in lines), done.stderr
        assert 'did you mean "endpoint"' in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_port_in_use_is_told(tmp_path: Path, config: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await mess("run", "--config", write(tmp_path, config), "--port", port, folder=tmp_path)
    assert done.returncode == 2
    assert f"admin.port: {port} on 127.0.0.1 is already in use" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "options", ["", "/?replicaSet=rs0&serverSelectionTimeoutMS=1000"], ids=["plain", "with-a-sets-name"]
)
async def test_a_standalone_server_is_told_and_how_to_mend_it(
    servers: None, tmp_path: Path, config: dict[str, Any], options: str
) -> None:
    with Mongod(replica_set=None) as node:
        path = write(tmp_path, {**config, "mongodb": {"url": f"mongodb://{node.address}{options}"}})
        ended, checked = await asyncio.gather(
            *(mess(name, "--config", path, folder=tmp_path) for name in ("run", "check"))
        )
    assert (ended.returncode, checked.returncode) == (3, 3)
    for text in (ended.stderr, checked.stdout):
        assert "replica set" in text
        assert "--replSet rs0" in text
        assert "rs.initiate()" in text
    assert "Traceback" not in ended.stdout + ended.stderr


async def test_mongodb_that_does_not_answer_yet_is_waited_for(
    servers: None, tmp_path: Path, config: dict[str, Any], receiver: Receiver
) -> None:
    """One line a try, no traceback, alive and not ready; then it works."""
    with ReplicaSet(1) as late:
        node = late.nodes[0]
        node.stop()
        path = write(tmp_path, {**config, "mongodb": {"url": f"{late.url}&serverSelectionTimeoutMS=300"}})
        async with running(path) as relay:
            again = "MongoDB cannot be reached, trying again"
            await relay.until(lambda: len(relay.said(again)) >= 3, "three tries")
            assert "Traceback" not in relay.text
            said = [json.loads(line)["event"] for line in relay.text.splitlines()]
            assert set(said[said.index(again) :]) == {again}, relay.text
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(late.wait)
            await relay.connected()
            with MongoClient[dict[str, Any]](late.url) as client:
                client[config["name"]].orders.insert_one({"_id": 1})
            await receiver.wait_for_events(1)
            assert await relay.stop() == 0


async def test_a_stop_while_mongodb_does_not_answer_is_obeyed(tmp_path: Path, config: dict[str, Any]) -> None:
    path = write(tmp_path, {**config, "mongodb": {"url": f"mongodb://127.0.0.1:{free_port()}"}})
    async with running(path) as relay:
        await relay.until(lambda: relay.said("state"), "the start")
        assert await asyncio.wait_for(relay.stop(), 15) == 0


async def test_wrong_password_and_missing_privileges_are_told_and_how_to_mend_them(
    servers: None, tmp_path: Path, config: dict[str, Any]
) -> None:
    key = tmp_path / "key"
    key.write_text("c2VjcmV0IG9mIHRoZSBzZXQ=")
    key.chmod(0o600)
    with Mongod(extra=[f"--keyFile={key}"]) as node:
        with MongoClient[dict[str, Any]](node.address, directConnection=True) as client:
            members = [{"_id": 0, "host": node.address}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            deadline = time.monotonic() + PATIENCE
            while not client.admin.command("hello")["isWritablePrimary"]:
                assert time.monotonic() < deadline, "no primary"
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        url = f"mongodb://root:secret@{node.address}/?replicaSet=rs0"
        with MongoClient[dict[str, Any]](url) as client:
            roles = [{"role": "readWrite", "db": f"{config['name']}-state"}]
            client.admin.command("createUser", "poor", pwd="secret", roles=roles)

            wrong = write(tmp_path, {**config, "mongodb": {"url": url.replace("secret", "wr0ng")}})
            done = await mess("run", "--config", wrong, folder=tmp_path)
            assert done.returncode == 3, done.stderr
            assert "mongodb.url" in done.stderr
            assert "wr0ng" not in done.stdout + done.stderr

            poor = write(tmp_path, {**config, "mongodb": {"url": url.replace("root", "poor")}})
            done = await mess("run", "--config", poor, folder=tmp_path)
            assert done.returncode == 3, done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            again = await mess("replay", "--from", "1h", "--config", poor, folder=tmp_path)
            assert (again.returncode, "createRole" in again.stderr) == (3, True), again.stderr
            # The command that it names is enough.
            role = json.loads(done.stderr.partition("runCommand(")[2].strip().removesuffix(")"))
            client.admin.command(role)
            client.admin.command("grantRolesToUser", "poor", roles=["mess"])
        async with running(poor) as relay:
            await relay.connected()
            assert await relay.stop() == 0, relay.text
        again = await mess("replay", "--from", "1h", "--config", poor, folder=tmp_path)
        assert again.returncode == 0, again.stderr
        assert "oplog reaches back to 2" in again.stdout


async def test_a_refusal_with_on_failure_stop_ends_it_with_7(
    tmp_path: Path, config: dict[str, Any], db: Db, receiver: Receiver
) -> None:
    receiver.answer = Answer(400)
    [http] = config["pipeline"]
    path = write(tmp_path, {**config, "pipeline": [{**http, "on_failure": "stop"}]})
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        assert await relay.ended() == 7
        assert "on_failure: stop" in relay.text.splitlines()[-1]


async def test_lost_history_ends_it_with_4_until_the_checkpoint_is_reset(
    servers: None, tmp_path: Path, config: dict[str, Any], receiver: Receiver
) -> None:
    with ReplicaSet(1) as forgetful:
        await asyncio.to_thread(forget_beginning, forgetful)
        path = write(tmp_path, {**config, "mongodb": {"url": forgetful.url}})
        async with running(path) as relay:
            await relay.connected()
            assert await relay.stop() == 0
        moved = await mess("checkpoints", "set", "2001-01-01T00:00:00", "--config", path, folder=tmp_path)
        assert moved.returncode == 0, moved.stderr
        done = await mess("run", "--config", path, folder=tmp_path)
        assert done.returncode == 4, done.stderr
        assert "mess checkpoints reset" in done.stderr
        [stream] = config["databases"]
        assert f'mess checkpoints reset --stream "{stream}"' in done.stderr
        reset = await mess("checkpoints", "reset", "--stream", stream, "--config", path, folder=tmp_path)
        assert reset.returncode == 0, reset.stderr
        async with running(path) as relay:
            await relay.connected()
            assert await relay.stop() == 0


async def test_a_query_that_only_mongodb_can_refuse_is_a_mistake_of_its_scope(
    tmp_path: Path, config: dict[str, Any], db: Db
) -> None:
    """Found by `run` and `check` alike, and named by its place in the config; never retried for ever."""
    config["databases"] = {db.name: {"collections": {"orders": {"match": {"$expr": {"$foo": 1}}}}}}
    path = write(tmp_path, config)
    validated = await mess("validate", "-c", path, folder=tmp_path)
    assert validated.returncode == 0
    for command in ("run", "check"):
        ended = await mess(command, "-c", path, folder=tmp_path)
        place = f"databases.{db.name}.collections.orders.match"
        assert f"{place}: MongoDB does not accept this query: Unrecognized expression '$foo'" in (
            ended.stderr if command == "run" else ended.stdout
        )
        assert ended.returncode == 2


async def test_no_pipeline_is_announced_that_nothing_takes(
    tmp_path: Path, config: dict[str, Any], db: Db, receiver: Receiver
) -> None:
    """Where every collection has its own, there is none at the top level: not in the log, `/status` or the metrics."""
    own = {"pipeline": config.pop("pipeline")}
    config["databases"] = {db.name: {"collections": {"orders": own, "lines": {"pipeline": ["log"]}}}}
    path = write(tmp_path, config)
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for(1)
        db.client.drop_database(db.name)
        await receiver.wait_for(2)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{config['admin']['port']}") as session:
            pages = [await (await session.get(page)).text() for page in ("/status", "/metrics")]
        assert {line["pipeline"] for line in relay.said("pipeline")} == {f"{db.name}.orders", f"{db.name}.lines"}
        assert await relay.stop() == 0
    assert not [page for page in pages if "top level" in page]
    assert f"{db.name}.orders" in pages[0]
