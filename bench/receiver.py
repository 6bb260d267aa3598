"""A receiver that does as little as possible: it takes a POST, counts its events and answers 200.

Run as `python -m bench.receiver`, it prints its port. `POST /single` counts one event, `/slow` one, and answers 20 ms
later, `/batch` as many as the body holds, `/latency` one, and keeps the time since its `"sent"`. `/mixed` counts as
many as the body holds without `"sent"`, and keeps the times of the others. `GET /reset?pid=…&expect=…&distinct=1`
begins a measurement of the process `pid`, `GET /stats` tells of it. With `distinct`, it also counts how many different
orders have come. Times are of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import orjson
import uvloop

from bench.process import cpu_seconds

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb'"sent": ?([0-9.]+)')
_NUMBER = re.compile(rb'"number": ?([0-9]+)')
_MEMBER = b'","body":'
_SLOW = 0.02  # seconds
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class Measurement:
    """The events of one run: how many of `expect` have come, when the first and the last, and the CPU time that the
    process `pid` and the receiver used between them. With `/mixed`, latencies are only those between the first and
    the last."""

    def __init__(self, pid: int | None = None, expect: int = sys.maxsize, *, distinct: bool = False) -> None:
        self.pid = pid
        self.numbers: set[bytes] | None = set() if distinct else None
        self.expect = expect
        self.events = self.requests = 0
        self.first = self.last = 0.0
        self.begun = self.ended = (0.0, 0.0)
        self.latencies: list[float] = []

    def count(self, events: int) -> None:
        """Take a request with so many events."""
        if not self.events:
            self.first = time.monotonic()
            self.begun = self._cpu()
        self.requests += 1
        before, self.events = self.events, self.events + events
        if before < self.expect <= self.events:
            self.last = time.monotonic()
            self.ended = self._cpu()

    def stats(self) -> dict[str, Any]:
        """What has been measured; `cpu` and `receiver_cpu` in seconds, latencies in milliseconds."""
        return {
            "events": self.events,
            "requests": self.requests,
            "first": self.first,
            "seconds": self.last - self.first,
            "cpu": self.ended[0] - self.begun[0],
            "receiver_cpu": self.ended[1] - self.begun[1],
            "latencies": self.latencies,
            "distinct": None if self.numbers is None else len(self.numbers),
        }

    def _cpu(self) -> tuple[float, float]:
        return (cpu_seconds(self.pid) if self.pid else 0.0), time.process_time()


class Server:
    """What the connections share."""

    def __init__(self) -> None:
        self.now = Measurement()

    def take(self, head: bytes, body: bytes) -> bytes:
        """Answer a request."""
        if self.now.numbers is not None:
            self.now.numbers.update(_NUMBER.findall(body))
        if head.startswith((b"POST /single", b"POST /slow")):
            self.now.count(1)
        elif head.startswith(b"POST /batch"):
            self.now.count(body.count(_MEMBER))
        elif head.startswith(b"POST /latency"):
            arrived = time.time()
            self.now.count(1)
            if found := _SENT.search(body):
                self.now.latencies.append((arrived - float(found[1])) * 1000)
        elif head.startswith(b"POST /mixed"):
            self._mixed(body)
        else:
            return self._control(head)
        return _OK

    def _mixed(self, body: bytes) -> None:
        now, arrived = self.now, time.time()
        sent = [float(found) for found in _SENT.findall(body)]
        if others := body.count(_MEMBER) - len(sent):
            if not now.events:
                now.latencies.clear()
            now.count(others)
        if not now.last:
            now.latencies += [(arrived - each) * 1000 for each in sent]

    def _control(self, head: bytes) -> bytes:
        target = urlsplit(head.split(b" ", 2)[1].decode())
        if target.path == "/reset":
            options = {name: int(values[0]) for name, values in parse_qs(target.query).items()}
            distinct = "distinct" in options
            self.now = Measurement(options.get("pid"), options.get("expect", sys.maxsize), distinct=distinct)
        content = orjson.dumps(self.now.stats())
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept-alive connections and bodies of a stated length, which is all that the senders use."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports derive from none of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) > self._need:
            end = buffer.find(_END)
            if end < 0:
                return
            start = end + len(_END)
            head = bytes(buffer[:start])
            found = _LENGTH.search(head)
            whole = start + (int(found[1]) if found else 0)
            if len(buffer) < whole:
                # Not searched again before the body is complete.
                self._need = whole - 1
                return
            answer = self._server.take(head, bytes(buffer[start:whole]))
            if head.startswith(b"POST /slow"):
                asyncio.get_running_loop().call_later(_SLOW, self._transport.write, answer)
            else:
                self._transport.write(answer)
            del buffer[:whole]
            self._need = 0


async def main() -> None:
    """Serve until standard input ends, which it does with the process that started this one."""
    server = Server()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main())
