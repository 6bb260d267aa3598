"""Replica sets whose oplog is small enough to be truncated in a test, and users who may not read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from mess.demo.mongod import Mongod
from mess.demo.replica_set import ReplicaSet
from tests.conftest import servers_needed

_DOCUMENT = 256 * 1024


@contextmanager
def small_oplog(megabytes: int = 10) -> Iterator[ReplicaSet]:
    """A replica set whose oplog is truncated within a second of growing beyond its size."""
    with servers_needed():
        made = ReplicaSet(1, oplog_mb=megabytes)
        # The oplog is never truncated beyond the storage engine's last checkpoint, which is one a minute by default.
        made.nodes[0]._arguments.append("--syncdelay=1")
        with made:
            yield made


def write_megabytes(client: MongoClient[dict[str, Any]], megabytes: int, database: str = "filler") -> None:
    """Let the oplog grow by so much."""
    for _ in range(megabytes):
        client[database].blobs.insert_many([{"blob": os.urandom(_DOCUMENT)} for _ in range(4)])


def oldest_is_founding(client: MongoClient[dict[str, Any]]) -> bool:
    """Whether nothing has been removed from the oplog yet."""
    first = client.local["oplog.rs"].find_one({}, sort=[("$natural", 1)])
    assert first is not None
    return bool(first["o"].get("msg") == "initiating set")


@contextmanager
def with_users(folder: Path, oplog_mb: int = 10) -> Iterator[tuple[Mongod, str]]:
    """A replica set of one server that asks for a password; its node, and its url for the user root. Its oplog is
    truncated as that of `small_oplog`."""
    key = folder / "key"
    key.write_text("c2VjcmV0IG9mIHRoZSBzZXQ=")
    key.chmod(0o600)
    with servers_needed(), Mongod(extra=[f"--keyFile={key}", "--syncdelay=1"], oplog_mb=oplog_mb) as node:
        with MongoClient[dict[str, Any]](node.address, directConnection=True) as client:
            members = [{"_id": 0, "host": node.address}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            while not client.admin.command("hello")["isWritablePrimary"]:
                pass
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        yield node, f"mongodb://root:secret@{node.address}/?replicaSet=rs0"
