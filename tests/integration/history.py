"""A replica set whose oplog no longer reaches back to its beginning, as after a long time."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet


def forget_beginning(replica_set: ReplicaSet) -> None:
    """Remove the oldest entry of a one-node set's oplog.

    While that entry is the set's founding, MongoDB knows that nothing came before it, and takes every position. Only a
    server that runs by itself lets its oplog be written to.
    """
    [node] = replica_set.nodes
    arguments = node._arguments
    node.stop()
    node._arguments = [each for each in arguments if not each.startswith(("--replSet", "--oplogSize"))]
    node.start()
    with MongoClient[dict[str, Any]](node.address, directConnection=True) as client:
        assert client.local["oplog.rs"].delete_one({"o.msg": "initiating set"}).deleted_count == 1
    node.stop()
    node._arguments = arguments
    node.start()
    replica_set.wait()
