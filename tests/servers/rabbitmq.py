"""A RabbitMQ server of one's own, on free ports."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.process import BrokerProcess, ServerMissing

_READY_SECONDS = 60.0
_STARTED = "Server startup complete"
_LAUNCHES = 4
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it has much to say of a server that is only starting
_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin")


class RabbitMissing(ServerMissing):
    """There is no rabbitmq-server: apt install rabbitmq-server, or make services."""


def find_rabbitmq() -> str:
    """The server's program. Raises RabbitMissing."""
    # Not the one on PATH, which on Debian is for root alone.
    found = shutil.which("rabbitmq-server", path=os.pathsep.join([*_FOLDERS, os.environ.get("PATH", "")]))
    if found is None or shutil.which("epmd") is None:
        raise RabbitMissing(RabbitMissing.__doc__)
    return found


class RabbitServer(BrokerProcess):
    """A RabbitMQ server; `options` are rabbitmq.conf's. With `tls`, it listens for that too, and asks for a client's
    certificate."""

    def __init__(self, tls: Certificates | None = None, **options: str) -> None:
        self._program = find_rabbitmq()
        super().__init__("rabbitmq")
        self.port, self._names_port, distribution = free_port(), free_port(), free_port()
        self._names: subprocess.Popen[bytes] | None = None
        self._tls, self._tls_port = tls is not None, free_port()
        folder = Path(self._folder.name)
        if tls is not None:
            options |= {
                "listeners.ssl.1": f"127.0.0.1:{self._tls_port}",
                "ssl_options.cacertfile": tls.ca,
                "ssl_options.certfile": tls.server,
                "ssl_options.keyfile": tls.server,
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
            }
        settings = {"listeners.tcp.1": f"127.0.0.1:{self.port}", "loopback_users": "none", **options}
        Path(folder, "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        Path(folder, "enabled_plugins").write_text("[].\n")
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_CRASH_DUMP": str(folder / "crash.dump"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": f"mess{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    @property
    def url(self) -> str:
        """Its url."""
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Its url with TLS."""
        return f"amqps://127.0.0.1:{self._tls_port}"

    @property
    def pid(self) -> int:
        """The server's own process id, not its script's."""
        group = os.getpgid(super().pid)
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if (entry / "comm").read_text().startswith("beam") and os.getpgid(int(entry.name)) == group:
                    return int(entry.name)
        raise AssertionError("it does not run")

    def start(self) -> None:
        """Start it; return when it answers."""
        if self._names is None:
            # Erlang would start one by itself that outlives it.
            self._names = subprocess.Popen(["epmd"], env=self._environment, stdin=subprocess.DEVNULL)
        before = self._starts
        process = self._launch([self._program], env=self._environment, start_new_session=True)
        launches = 1
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                with self.channel():
                    self._probe()
                # It listens before it has found its queues: one that is declared then would be a new, empty one.
                if self._starts > before:
                    return
                assert time.monotonic() < deadline, "RabbitMQ does not start up"
                time.sleep(0.05)
            except (AMQPError, OSError):
                if process.poll() is not None:
                    # A server that was killed may not have let go of its ports yet.
                    taken = [
                        each for each in ("dist_port_already_used", "could_not_start_listener") if each in self.log
                    ]
                    assert taken, self.log[-3000:]
                    assert launches < _LAUNCHES, self.log[-3000:]
                    launches += 1
                    time.sleep(1)
                    process = self._launch([self._program], env=self._environment, start_new_session=True)
                assert time.monotonic() < deadline, "RabbitMQ does not answer"
                time.sleep(0.05)

    @property
    def _starts(self) -> int:
        """How often it has started up, which takes longer than to listen."""
        try:
            return self.log.count(_STARTED)
        except FileNotFoundError:
            return 0

    def kill(self) -> None:
        """End it as a crash would: it is a group of processes."""
        with suppress(ProcessLookupError):
            os.killpg(super().pid, signal.SIGKILL)
        super().kill()

    def close(self) -> None:
        """See `Server.close`."""
        super().close()
        if self._names is not None:
            self._names.kill()
            self._names.wait()

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl."""
        program = str(Path(self._program).with_name("rabbitmqctl"))
        subprocess.run([program, *arguments], env=self._environment, check=True, capture_output=True)

    def _probe(self) -> None:
        """Raises OSError while the listener for TLS, which starts after the other one, is not there yet."""
        if self._tls:
            socket.create_connection(("127.0.0.1", self._tls_port), timeout=5).close()

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel of a client of it."""
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def declare(self, *queues: str, **arguments: Any) -> None:
        """Make durable queues."""
        with self.channel() as channel:
            for queue in queues:
                channel.queue_declare(queue, durable=True, arguments=arguments)

    def messages(self, queue: str) -> list[tuple[Any, bytes]]:
        """Properties and bodies of all messages that are in a queue, in order; they stay there."""
        found: list[tuple[Any, bytes]] = []
        with self.channel() as channel:
            while True:
                method, properties, body = channel.basic_get(queue)
                if method is None:
                    return found
                found.append((properties, body or b""))
