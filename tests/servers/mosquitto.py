"""An MQTT broker of one's own: Mosquitto, on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from mess.demo.ports import free_port
from tests.servers.certificates import Certificates
from tests.servers.process import BrokerProcess, ServerMissing

_READY_SECONDS = 20.0


class MosquittoMissing(ServerMissing):
    """There is no mosquitto: apt install mosquitto, or make services."""


def find_mosquitto() -> str:
    """The broker's program. Raises MosquittoMissing."""
    found = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        raise MosquittoMissing(MosquittoMissing.__doc__)
    return found


class MosquittoServer(BrokerProcess):
    """A Mosquitto broker; `config` is more of its config file's lines."""

    def __init__(self, config: str = "allow_anonymous true") -> None:
        self._program = find_mosquitto()
        super().__init__("mosquitto")
        self.port, self._tls_port = free_port(), free_port()
        self._config = Path(self._folder.name, "mosquitto.conf")
        self.configure(config)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(self._folder.name)

    @property
    def url(self) -> str:
        """Its url."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Its url with TLS."""
        return f"mqtts://127.0.0.1:{self._tls_port}"

    def configure(self, config: str, tls: Certificates | None = None) -> None:
        """Take other lines for its config file, from the next start on. With `tls`, it listens for that too, and asks
        for a client's certificate."""
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{user}persistence true\npersistence_location {self._folder.name}/\n"
            f"max_queued_messages 0\nlog_type all\n{config}\n"
        )
        if tls is not None:
            with self._config.open("a") as file:
                file.write(
                    f"listener {self._tls_port} 127.0.0.1\ncafile {tls.ca}\ncertfile {tls.server}\n"
                    f"keyfile {tls.server}\nrequire_certificate true\n"
                )

    def start(self) -> None:
        """Start it; return when it answers."""
        process = self._launch([self._program, "-c", str(self._config)])
        deadline = time.monotonic() + _READY_SECONDS
        while not self._listens():
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, "Mosquitto does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order: only then does it write what it holds for others."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(_READY_SECONDS)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


class Subscriber:
    """Collects what is published to a topic filter, over restarts of the broker: a session that it keeps."""

    def __init__(self, port: int, topic: str = "#", **credentials: str) -> None:
        self.messages: list[MQTTMessage] = []
        self._topic = topic
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, f"subscriber-{port}", protocol=MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda client, data, message: self._on_message(message)
        self._client.reconnect_delay_set(0.05, 0.2)
        if credentials:
            self._client.username_pw_set(**credentials)
        self._port = port

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, message: MQTTMessage) -> None:
        # A broker that ended before it had our answer sends its last ones again, so marked; a publisher's mark it does
        # not pass on (MQTT 5.0, 3.3.1.1).
        known = ((each.mid, each.topic, each.payload) for each in reversed(self.messages))
        if not (message.dup and (message.mid, message.topic, message.payload) in known):
            self.messages.append(message)

    def __enter__(self) -> Self:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", self._port, clean_start=False, properties=session)
        self._client.loop_start()
        assert self._subscribed.wait(_READY_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
