"""A NATS server of one's own with JetStream, on a free port."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.process import BrokerProcess, ServerMissing

_READY_SECONDS = 20.0

T = TypeVar("T")


class NatsMissing(ServerMissing):
    """There is no nats-server on PATH: apt install nats-server, or make services."""


def find_nats() -> str:
    """The server's program. Raises NatsMissing."""
    found = shutil.which("nats-server")
    if found is None:
        raise NatsMissing(NatsMissing.__doc__)
    return found


class NatsServer(BrokerProcess):
    """A NATS server; `config` is more of its config file's lines. With `tls` it asks for a client's certificate."""

    def __init__(
        self, config: str = "", *, user: str = "", jetstream: bool = True, tls: Certificates | None = None
    ) -> None:
        self._program = find_nats()
        super().__init__("nats")
        self.port = free_port()
        self._at = f"{user}@" if user else ""
        lines = [f'listen: "127.0.0.1:{self.port}"', "max_payload: 32MB", "max_pending: 128MB"]
        if jetstream:
            lines.append(f'jetstream {{ store_dir: "{self._folder.name}/data" }}')
        if tls is not None:
            lines.append(
                f'tls {{ cert_file: "{tls.server}", key_file: "{tls.server}", ca_file: "{tls.ca}", verify: true }}'
            )
        self._config = Path(self._folder.name, "nats.conf")
        self._config.write_text("\n".join([*lines, config, ""]))

    @property
    def url(self) -> str:
        """Its url."""
        return f"nats://{self._at}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers and its streams are there again."""
        process = self._launch([self._program, "--config", str(self._config)])
        deadline = time.monotonic() + _READY_SECONDS
        while not (self._listens() and "Server is ready" in self.log):
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, "the NATS server does not answer"
            time.sleep(0.02)

    def do(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """What `work` gives, done with a client of it."""

        async def run() -> T:
            client = await nats.connect(self.url, allow_reconnect=False)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())

    def add_stream(self, name: str, *subjects: str, **options: Any) -> None:
        """Make a stream."""

        async def add(client: Client) -> None:
            await client.jetstream().add_stream(name=name, subjects=list(subjects), **options)

        self.do(add)

    def messages(self, stream: str) -> list[Any]:
        """All of a stream's messages, in order."""

        async def read(client: Client) -> list[Any]:
            jetstream = client.jetstream()
            count = (await jetstream.stream_info(stream)).state.messages
            found: list[Any] = []
            if count:
                config = ConsumerConfig(ack_policy=AckPolicy.NONE)
                consumer = await jetstream.pull_subscribe(">", stream=stream, config=config)
                while len(found) < count:
                    found += await consumer.fetch(min(1000, count - len(found)), timeout=10)
            return found

        return self.do(read)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
