"""A relay starts on the state and the config of an earlier version, and continues where that one stopped."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running
from tests.receiver import Receiver
from tests.recorded import FILES, STATE, STORES, configs_in, read, restore
from tests.servers.redis import RedisServer
from tests.waiting import until

Client = MongoClient[dict[str, Any]]

STREAMS = {
    "recorded_shop": "recorded_shop.orders",
    "recorded_shop (off, off)": "recorded_shop.web_log",
    "recorded_shop (update_lookup, off)": "recorded_shop.customers",
    "recorded_archive": "recorded_archive.new",
    "*": "recorded_tenant_a.things",
}
"""The recorded relay's streams, and a collection of each."""
BEHIND = "recorded_archive (catching up)"
BEHIND_COLLECTION = "recorded_archive.old"
TO_RECEIVER = ("recorded_shop.orders", "recorded_archive.new", "recorded_archive.old", "recorded_tenant_a.things")


@pytest.fixture
def client(own_replica_set: ReplicaSet) -> Iterator[Client]:
    """A client of a server that has all changes from its beginning."""
    with MongoClient[dict[str, Any]](own_replica_set.url, tz_aware=True) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP receiver that takes everything."""
    async with Receiver() as found:
        yield found


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> Any:
    """Where the state was recorded."""
    return request.param


@pytest.fixture
def config(
    kind: str,
    client: Client,
    own_replica_set: ReplicaSet,
    receiver: Receiver,
    redis_server: RedisServer,
    tmp_path: Path,
) -> Path:
    """The recorded config, with the recorded state in the place that it names."""
    if kind == "mongodb":
        restore(client[STATE])
    else:
        shutil.copyfile(FILES / "state.db", tmp_path / "state.db")
    environ = {
        "MONGODB_URL": own_replica_set.url,
        "STATE_URL": own_replica_set.url if kind == "mongodb" else f"sqlite:///{tmp_path}/state.db",
        "RECEIVER_URL": receiver.url,
        "REDIS_URL": redis_server.url,
    }
    configs_in(tmp_path / "relay", environ)
    return tmp_path / "relay" / "relay.yml"


def write(client: Client, name: str) -> dict[str, dict[str, Any]]:
    """Insert a document into each collection; the resume tokens by collection."""
    tokens: dict[str, dict[str, Any]] = {}
    with client.watch() as changes:
        for namespace in (*STREAMS.values(), BEHIND_COLLECTION):
            db, coll = namespace.split(".")
            client[db][coll].insert_one({"_id": name, "total": 20})
        while len(tokens) <= len(STREAMS):
            change = changes.next()
            tokens[f"{change['ns']['db']}.{change['ns']['coll']}"] = change["_id"]
    return tokens


def stopped_at(kind: str, client: Client, file: Path, tokens: dict[str, dict[str, Any]]) -> None:
    """Change where the earlier version stopped, in its own format: at these changes, and far behind in one stream."""
    early = Timestamp(time_of(tokens["recorded_shop.orders"]).time - 100, 1)
    positions: dict[str, tuple[dict[str, Any] | None, Timestamp]] = {
        stream: (tokens[namespace], time_of(tokens[namespace])) for stream, namespace in STREAMS.items()
    }
    positions[BEHIND] = (None, early)
    if kind == "mongodb":
        checkpoints = client[STATE].checkpoints
        recorded = checkpoints.find_one({"_id": "recorded"}) or {}
        coverage = [[*rule[:3], early.time, early.inc] for rule in recorded["coverage"]]
        checkpoints.update_one({"_id": "recorded"}, {"$set": {"coverage": coverage}})
        for stream, (token, time) in positions.items():
            changed = checkpoints.update_one({"_id": f"recorded/{stream}"}, {"$set": {"token": token, "time": time}})
            assert changed.matched_count == 1
        return
    with closing(sqlite3.connect(file)) as db, db:
        [rules] = db.execute("SELECT rules FROM coverage WHERE relay = 'recorded'").fetchone()
        coverage = [[*rule[:3], early.time, early.inc] for rule in json.loads(rules)]
        db.execute("UPDATE coverage SET rules = ? WHERE relay = 'recorded'", [json.dumps(coverage)])
        update = "UPDATE positions SET token = ?, time_t = ?, time_i = ? WHERE relay = 'recorded' AND stream = ?"
        for stream, (token, time) in positions.items():
            row = (None if token is None else bson.encode(token), time.time, time.inc, stream)
            assert db.execute(update, row).rowcount == 1


def time_of(token: dict[str, Any]) -> Timestamp:
    """The cluster time in a resume token."""
    return Timestamp(int(token["_data"][2:10], 16), int(token["_data"][10:18], 16))


def id_of(token: dict[str, Any]) -> str:
    """The id that every version gives to a change."""
    return "msg_" + base64.b32encode(hashlib.sha256(token["_data"].encode()).digest()).decode().rstrip("=")


async def test_a_relay_continues_where_an_earlier_version_stopped(
    config: Path, kind: str, client: Client, receiver: Receiver, redis_server: RedisServer, tmp_path: Path
) -> None:
    """It delivers what was changed while no relay ran, and nothing before; and the dead letters, with their ids."""
    long_before, last = write(client, "long before"), write(client, "the last one delivered")
    stopped_at(kind, client, tmp_path / "state.db", last)
    missed = write(client, "missed")
    async with running(config) as relay:
        await relay.connected(len(STREAMS) + 1)
        later = write(client, "later")
        expected = [id_of(tokens[namespace]) for tokens in (missed, later) for namespace in TO_RECEIVER]
        expected += [id_of(tokens[BEHIND_COLLECTION]) for tokens in (long_before, last)]
        await receiver.wait_for_events(len(expected), 30)
        await relay.until(lambda: relay.said("stream has caught up"), "the stream that was behind")
        with redis_server.client() as redis:
            await until(lambda: redis.xlen("recorded_shop.web_log") >= 2, "two entries")
        await letters_are_replayed(config, kind, receiver, expected)
        assert await relay.stop() == 0
    with redis_server.client() as redis:
        entries: Any = redis.xrange("recorded_shop.web_log")
    published = [id_of(tokens["recorded_shop.web_log"]) for tokens in (missed, later)]
    assert [fields[b"id"].decode() for _, fields in entries] == published


async def letters_are_replayed(config: Path, kind: str, receiver: Receiver, delivered: list[str]) -> None:
    """Two of the four recorded ones, beside what was `delivered`."""
    recorded = {letter["id"]: letter for letter in read()["states"][kind]["relay.yml"]["letters"]}
    wanted = {name for name, letter in recorded.items() if "no such customer" in letter["reason"]}
    assert len(wanted) == 2
    reason = ("--reason", "no such customer", "--config", config)
    done = await mess("dead-letters", "replay", *reason, folder=config.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(event.id for event in receiver.received) == sorted([*delivered, *wanted])
    replayed = {each.headers["webhook-id"]: each for each in receiver.requests if "mess-replay" in each.headers}
    assert set(replayed) == wanted
    [order] = [request for request in replayed.values() if request.method == "PUT"]
    body = recorded[order.headers["webhook-id"]]["body"]
    assert (order.json["id"], order.json["title"]) == (body["id"], body["title"])
    listed = await mess("dead-letters", "list", "--json", "--config", config, folder=config.parent)
    assert {each["id"] for each in json.loads(listed.stdout)["letters"]} == set(recorded) - wanted
