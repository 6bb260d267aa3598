"""A Redis server of one's own, on a free port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from mess.demo.mongod import free_port

_READY_SECONDS = 20.0


class RedisMissing(Exception):
    """There is no redis-server on PATH: apt install redis-server, or make services."""


def find_redis() -> str:
    """The server's program. Raises RedisMissing."""
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissing(RedisMissing.__doc__)
    return found


class RedisServer:
    """Runs while it is open, and keeps what it confirmed over `kill` and `start`; `options` are redis.conf's."""

    def __init__(self, **options: str) -> None:
        self.port = free_port()
        self._program = find_redis()
        self._folder = tempfile.TemporaryDirectory(prefix="mess-redis-")
        # What has been confirmed is on the disk.
        self._options = {"appendonly": "yes", "appendfsync": "always", "save": "", "bind": "127.0.0.1", **options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its url."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """A client of it."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def start(self) -> None:
        """Start it; return when it answers."""
        options = [word for name, value in self._options.items() for word in (f"--{name.replace('_', '-')}", value)]
        command = [self._program, "--port", str(self.port), "--dir", self._folder.name, *options]
        with Path(self._folder.name, "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _READY_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return
                except redis.RedisError:
                    gone = self._process.poll() is not None or time.monotonic() > deadline
                    assert not gone, Path(self._folder.name, "log").read_text()
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        os.kill(self._process.pid, 9)
        self._process.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()
