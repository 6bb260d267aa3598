"""The receiver as the benchmark sees it."""

from __future__ import annotations

import http.client
import subprocess
import time
from types import TracebackType
from typing import Any, Self

import orjson

from bench.process import python

_POLL = 0.1


class Sink:
    """`bench.receiver`, running as a process of its own while this is open."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def url(self, path: str) -> str:
        """Where to send: `single`, `batch`, `slow`, `latency` or `mixed`."""
        return f"http://127.0.0.1:{self._port}/{path}"

    def reset(self, pid: int | None = None, expect: int | None = None, *, distinct: bool = False) -> None:
        """Begin a measurement, of the process `pid`, that ends with the event number `expect`; with `distinct`, count
        the different orders, too."""
        options = {"pid": pid, "expect": expect, "distinct": 1 if distinct else None}
        self._get("/reset?" + "&".join(f"{name}={value}" for name, value in options.items() if value is not None))

    def stats(self) -> dict[str, Any]:
        """What has been measured, see `bench.receiver.Measurement`."""
        return self._get("/stats")

    def wait(self, events: int, alive: subprocess.Popen[bytes] | None = None, timeout: float = 600.0) -> dict[str, Any]:
        """The stats, as soon as so many events have come.

        Raises RuntimeError when they have not in `timeout` seconds, or when the process that sends them ends before.
        """
        deadline = time.monotonic() + timeout
        while (stats := self.stats())["events"] < events:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {stats['events']} of {events} events came in {timeout:g} s")
            if alive is not None and alive.poll():
                raise RuntimeError(f"the sender ended with exit code {alive.returncode} after {stats['events']} events")
            time.sleep(_POLL)
        return stats

    def __enter__(self) -> Self:
        self._process = python("bench.receiver")
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()

    def _get(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path)
            stats: dict[str, Any] = orjson.loads(connection.getresponse().read())
        finally:
            connection.close()
        return stats
