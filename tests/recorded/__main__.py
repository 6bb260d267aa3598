"""Records what a version of MESS leaves behind. It replaces `state.db`, `mongodb.json` and `read.json` in `files`.

To record the version before a change of the state or of the config, run it there:

    git worktree add ../recorded VERSION
    rm -rf ../recorded/tests/recorded && cp -r tests/recorded ../recorded/tests/
    make -C ../recorded .venv/.dev
    (cd ../recorded && .venv/bin/python -m tests.recorded)
    cp ../recorded/tests/recorded/files/* tests/recorded/files/

Let the configs use an option before it changes. The files that are there now were written by the commit da9d8e2.
It needs what the tests need: MongoDB and Redis.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from bson import Timestamp
from pymongo import AsyncMongoClient, MongoClient

from mess.config.load import load
from mess.demo.replica_set import ReplicaSet
from mess.stores import store_for
from tests.acceptance.commands import Running, mess, running
from tests.integration.history import forget_before
from tests.integration.state.samples import EVERY_TYPE
from tests.receiver import Answer, Receiver, Request
from tests.recorded import CONFIGS, FILES, STATE, STORES, configs_in, plain, reading
from tests.servers.redis import RedisServer
from tests.waiting import until


def answer(request: Request) -> Answer:
    """What the receiver says to an event, by the number of the order or the name of the document."""
    body = request.json
    order, document = body.get("order") or {}, (body.get("data") or body).get("fullDocument") or {}
    if order.get("total") == 422 or document.get("_id") == "refused":
        return Answer(422, body="no such customer: Zoë".encode())
    if order.get("total") == 500:
        return Answer(500, body=b"sometimes")
    return Answer()


class Recorder:
    """Runs the relays of both configs with their state in one store."""

    def __init__(self, replica_set: ReplicaSet, receiver: Receiver, folder: Path, environ: dict[str, str]) -> None:
        self._replica_set = replica_set
        self._receiver = receiver
        self.folder = folder
        self.environ = environ
        self.relay, self.sample = (folder / name for name in CONFIGS)
        configs_in(folder, environ)

    async def run(self) -> None:
        """From the first start to the last stop."""
        with MongoClient[dict[str, Any]](self._replica_set.url) as client:
            await self._first_run(client)
            client.recorded_shop.orders.insert_one({"_id": "never received", "total": 10})
            client.recorded_01.test.insert_one({"_id": "never received"})
        await asyncio.sleep(1)
        with MongoClient[dict[str, Any]](self._replica_set.url) as client:
            await asyncio.to_thread(forget_before, self._replica_set, _now(client))
        with MongoClient[dict[str, Any]](self._replica_set.url) as client:
            await self._fall_behind(await self._run_after_loss(client))

    async def _first_run(self, client: MongoClient[dict[str, Any]]) -> None:
        async with running(self.relay) as relay, running(self.sample) as sample:
            await relay.connected(5)
            await sample.connected(2)
            client.recorded_shop.orders.insert_many([{"_id": n, "total": 10 + n} for n in range(3)])
            client.recorded_shop.orders.insert_one({"_id": "small", "total": 9})
            client.recorded_shop.web_log.insert_one({"_id": 1})
            client.recorded_shop.customers.insert_one({"_id": 1})
            client.recorded_archive.old.insert_one({"_id": 1})
            client.recorded_tenant_a.things.insert_one({"_id": 1})
            client.recorded_01.test.insert_one({"_id": 1})
            client.recorded_01.a1.insert_one({"_id": 1})
            client.recorded_02.test.insert_one({"_id": 1})
            client.recorded_01.test.insert_one({"_id": "refused"})
            await self._received(6)
            await _given_up(sample, 1)
            assert (await relay.stop(), await sample.stop()) == (0, 0)

    async def _run_after_loss(self, client: MongoClient[dict[str, Any]]) -> Timestamp:
        """One relay goes on with gaps, the other's streams are stopped; and there are more dead letters.

        Returns the time at which this began, long before its end.
        """
        async with running(self.relay) as relay, running(self.sample) as sample:
            await relay.connected(5)
            await sample.until(lambda: len(sample.said("stream stopped")) == 2, "gaps that are open")
            since = _now(client)
            client.recorded_archive.old.insert_one({"_id": "once more"})
            orders = client.recorded_shop.orders
            orders.insert_one({**EVERY_TYPE, "_id": EVERY_TYPE["objectid"], "total": 422})
            orders.insert_one({"_id": {"broken": [1, "ü"]}, "total": 20, "broken": True})
            orders.insert_one({"_id": "sometimes", "total": 500})
            number = 100
            while _letters(relay) < 3:  # what passes meanwhile shows that the receiver is not down
                orders.insert_one({"_id": (number := number + 1), "total": 10})
                await asyncio.sleep(0.05)
                assert number < 300, relay.text[-10_000:]
            client.recorded_tenant_a.things.insert_one({"_id": "refused"})
            await _given_up(relay, 4)
            await asyncio.sleep(8)  # a stream of its own is for what is far behind
            client.recorded_archive.new.insert_one({"_id": "later"})
            await self._received(1, "later")
            assert (await relay.stop(), await sample.stop()) == (0, 4)
        return since

    async def _fall_behind(self, since: Timestamp) -> None:
        """A collection that is set back has a stream of its own, which cannot catch up."""
        begin = f"{since.time}:{since.inc}"
        arguments = ("set", begin, "--namespace", "recorded_archive.old", "--config", self.relay)
        done = await mess("checkpoints", *arguments, folder=self.folder)
        assert done.returncode == 0, done.stderr
        self._receiver.respond = lambda _: Answer(503)
        async with running(self.relay) as relay:
            await relay.connected(6)
            await relay.until(lambda: relay.said("step still fails"), "the one behind")
            await asyncio.sleep(2)
            assert await relay.stop() == 0

    async def _received(self, count: int, name: str = "") -> None:
        accepted = self._receiver.accepted
        await until(lambda: sum(name in str(each.body) for each in self._receiver.accepted) >= count, str(accepted))

    async def read(self) -> dict[str, Any]:
        """What this version reads of the state, by config."""
        found = {}
        for name in CONFIGS:
            loaded = load(self.folder / name, environ=self.environ)
            async with store_for(loaded.config) as store:
                found[name] = await reading.state(store)
        return found


def _letters(relay: Running) -> int:
    return sum(line["count"] for line in relay.said("events given up"))


async def _given_up(relay: Running, count: int) -> None:
    await relay.until(lambda: _letters(relay) >= count, f"{count} dead letters")


def _now(client: MongoClient[dict[str, Any]]) -> Timestamp:
    found: Timestamp = client.admin.command("ping")["operationTime"]
    return found


async def record(kind: str) -> dict[str, Any]:
    """Record the state in one store; what this version reads of it."""
    with tempfile.TemporaryDirectory() as folder, ReplicaSet() as replica_set, RedisServer() as redis:
        async with Receiver(respond=answer) as receiver:
            file = Path(folder, "state.db")
            environ = {
                "MONGODB_URL": replica_set.url,
                "STATE_URL": replica_set.url if kind == "mongodb" else f"sqlite:///{file}",
                "RECEIVER_URL": receiver.url,
                "REDIS_URL": redis.url,
            }
            recorder = Recorder(replica_set, receiver, Path(folder, "relay"), environ)
            await recorder.run()
            found = await recorder.read()
        if kind == "mongodb":
            await _dump(replica_set)
        else:
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copyfile(file, FILES / "state.db")
    return found


async def _dump(replica_set: ReplicaSet) -> None:
    async with AsyncMongoClient[dict[str, Any]](replica_set.url, tz_aware=True) as client:
        found = {}
        for name in sorted(await client[STATE].list_collection_names()):
            collection = client[STATE][name]
            indexes = [index["key"] for _, index in sorted((await collection.index_information()).items())]
            found[name] = {"indexes": indexes, "documents": await collection.find().sort("_id").to_list()}
    _write("mongodb.json", found)


def _write(name: str, value: Any) -> None:
    (FILES / name).write_text(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


async def main() -> None:
    """Record both stores and both configs."""
    states = {kind: await record(kind) for kind in STORES}
    _write("read.json", {"states": states, "configs": {name: reading.meaning(FILES / name) for name in CONFIGS}})


if __name__ == "__main__":
    asyncio.run(main())
