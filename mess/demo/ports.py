"""Ports for servers of one's own, which nothing else takes before the server does, or while it restarts."""

from __future__ import annotations

import random
import socket
import sys
import threading
from collections.abc import Iterator

HOST = "127.0.0.1"
# Linux takes the ports of outgoing connections from 32768 on, other systems from 49152.
_FIRST, _LAST, _BLOCK = 20000, 32767, 64


def free_port() -> int:
    """A port of the loopback address that nothing listens on. Raises OSError when none is left."""
    with _one_at_a_time:
        for port in _ports:
            with socket.socket() as listener:
                try:
                    listener.bind((HOST, port))
                except OSError:
                    continue
                return port
    raise OSError("no port of 127.0.0.1 is free")


def _blocks() -> Iterator[int]:
    """Ports that no other process is handed, on Linux."""
    starts = list(range(_FIRST, _LAST + 2 - _BLOCK, _BLOCK))
    random.SystemRandom().shuffle(starts)
    for start in starts:
        if sys.platform == "linux":
            claim = socket.socket(socket.AF_UNIX)
            try:
                # An abstract name: it has the same scope as the ports, and goes with the process.
                claim.bind(f"\0mess-ports-{start}")
            except OSError:
                claim.close()
                continue
            _claims.append(claim)
        yield from range(start, start + _BLOCK)


_claims: list[socket.socket] = []
_ports = _blocks()
_one_at_a_time = threading.Lock()  # the servers of a replica set are started in threads
