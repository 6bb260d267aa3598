"""A replica set whose oplog no longer reaches back to its beginning, as after a long time."""

from __future__ import annotations

from typing import Any

from bson import Timestamp
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet


def forget_beginning(replica_set: ReplicaSet) -> None:
    """Remove the oldest entry of a one-node set's oplog.

    While that entry is the set's founding, MongoDB knows that nothing came before it, and takes every position.
    """
    _forget(replica_set, {"o.msg": "initiating set"})


def forget_before(replica_set: ReplicaSet, time: Timestamp) -> None:
    """Remove what a one-node set's oplog holds of the time before `time`."""
    _forget(replica_set, {"ts": {"$lt": time}})


def _forget(replica_set: ReplicaSet, which: dict[str, Any]) -> None:
    """Only a server that runs by itself lets its oplog be written to."""
    [node] = replica_set.nodes
    arguments = node._arguments
    node.stop()
    node._arguments = [each for each in arguments if not each.startswith(("--replSet", "--oplogSize"))]
    node.start()
    with MongoClient[dict[str, Any]](node.address, directConnection=True) as client:
        assert client.local["oplog.rs"].delete_many(which).deleted_count
    node.stop()
    node._arguments = arguments
    node.start()
    replica_set.wait()
