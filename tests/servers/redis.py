"""A Redis server of one's own, on a free port."""

from __future__ import annotations

import shlex
import shutil
import time
from typing import Any

import redis

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.process import BrokerProcess, ServerMissing

_READY_SECONDS = 20.0


class RedisMissing(ServerMissing):
    """There is no redis-server on PATH: apt install redis-server, or make services."""


def find_redis() -> str:
    """The server's program. Raises RedisMissing."""
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissing(RedisMissing.__doc__)
    return found


class RedisServer(BrokerProcess):
    """A Redis server; `options` are redis.conf's. With `tls`, it listens for that too, and asks for a client's
    certificate."""

    def __init__(self, tls: Certificates | None = None, **options: str) -> None:
        self._program = find_redis()
        super().__init__("redis")
        self.port, self._tls_port = free_port(), free_port()
        if tls is not None:
            options |= {
                "tls_port": str(self._tls_port),
                "tls_cert_file": tls.server,
                "tls_key_file": tls.server,
                "tls_ca_cert_file": tls.ca,
            }
        # What has been confirmed is on the disk.
        self._options = {"appendonly": "yes", "appendfsync": "always", "save": "", "bind": "127.0.0.1", **options}

    @property
    def url(self) -> str:
        """Its url."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """Its url with TLS."""
        return f"rediss://127.0.0.1:{self._tls_port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client of it."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def start(self) -> None:
        """Start it; return when it answers."""
        options: list[str] = []
        for name, value in self._options.items():
            options += (f"--{name.replace('_', '-')}", *(shlex.split(value) or [""]))
        command = [self._program, "--port", str(self.port), "--dir", self._folder.name, *options]
        process = self._launch(command)
        deadline = time.monotonic() + _READY_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except (redis.AuthenticationError, redis.ResponseError):
                    return
                except redis.RedisError:
                    gone = process.poll() is not None or time.monotonic() > deadline
                    assert not gone, self.log
                    time.sleep(0.02)
                else:
                    return
