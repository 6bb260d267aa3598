"""The helper that runs MongoDB for the demo, the tests and the benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet

_ORPHAN = """
import time
from mess.demo.mongod import Mongod
server = Mongod()
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


def test_has_change_streams(mongo: MongoClient[dict[str, Any]], database: str) -> None:
    """The shared server is a replica set, and a test's database is its own."""
    with mongo[database].watch(max_await_time_ms=5000) as stream:
        mongo[database].orders.insert_one({"_id": 1})
        assert next(stream)["documentKey"] == {"_id": 1}


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restarted_server_keeps_port_and_data(own_replica_set: ReplicaSet, end: str) -> None:
    """After a crash as after an orderly end, and clients find it again by themselves."""
    [node] = own_replica_set.nodes
    with MongoClient[dict[str, Any]](own_replica_set.url, serverSelectionTimeoutMS=10_000) as client:
        client["shop"]["orders"].insert_one({"_id": 1})
        address = node.address
        getattr(node, end)()
        assert not node.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", node.port))
        node.start()
        own_replica_set.wait()
        assert node.address == address
        assert client["shop"]["orders"].find_one() == {"_id": 1}


def test_elects_another_primary(three_nodes: ReplicaSet) -> None:
    """When the primary is killed, and when it steps down."""
    dead = three_nodes.kill_primary()
    assert three_nodes.primary is not dead
    dead.start()
    three_nodes.wait()
    old = three_nodes.step_down()
    assert three_nodes.primary is not old


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_ends_with_the_process_that_started_it(replica_set: ReplicaSet) -> None:
    """Even when that is killed, the server ends and its data is removed."""
    with subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (_alive(int(pid)) or Path(folder).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(pid))
    assert not Path(folder).exists()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that nobody has reaped yet has ended all the same.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and ") Z " in status.read_text())
