"""MQTT 5 and 3.1.1, with paho (https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html)."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from mess.errors import Ambiguous, ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.leadership import LAPSED
from mess.options.extras import required
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.confirms import Confirms, resolve
from mess.steps.queue.unreachable import unreachable

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_CONNECT_SECONDS = 10.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE = 1
_ROOM = 1000
_MOST_BYTES = 65_535  # of a string
_LONG = _MOST_BYTES // 3
_OVERHEAD = 1000  # bytes of a packet besides topic and body; more than our headers take
# Reason codes of PUBACK (MQTT 5, 3.4.2.1).
_NOT_AUTHORIZED, _BAD_TOPIC, _TOO_LARGE, _QUOTA, _BAD_PAYLOAD = 0x87, 0x90, 0x95, 0x97, 0x99
# Characters for which brokers may disconnect (MQTT 5, 1.5.4): control characters and noncharacters.
_UNFIT = re.compile(
    r"[\0-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane * 0x10000 + n) for plane in range(17) for n in (0xFFFE, 0xFFFF))
    + "]"
)
_log = logging.getLogger("mess.mqtt")
_log.addHandler(logging.NullHandler())  # the client's messages also come with its errors
_log.propagate = False


class MqttOptions(BrokerOptions):
    """MQTT. `target` is the topic, as in `shop/{collection}`. Always with QoS 1: the broker acknowledges each message.

    With MQTT 5, the user property `mess-id` is the event's id and `mess-key` its key; 3.1.1 has no place for them.
    """

    version: Literal["5", "3.1.1"] = "5"
    """The protocol version."""
    client_id: str = Field("", max_length=23)
    """The client id, for brokers that require one. Default: assigned by the broker."""
    retain: bool = False
    """Whether the broker keeps a topic's last message for later subscribers."""
    keepalive: int = Field(30, ge=1, le=65535)
    """How many seconds of silence pass before the connection is checked."""
    max_inflight: int = Field(_ROOM, ge=1, le=65535)
    """How many messages may be unacknowledged at the same time. MQTT 5 brokers announce their own limit."""

    def unfit_header(self, name: str) -> str | None:
        """See `BrokerOptions`."""
        if self.version != "5":
            return "MQTT 3.1.1 has no headers; leave them out, or use version 5"
        if _UNFIT.search(name):
            return f"MQTT cannot have a header {name!r}: a name cannot contain control characters"
        return super().unfit_header(name)


class MqttBroker(Broker):
    """See `MqttOptions`.

    When a connection is lost, its client is discarded: it would resend messages in flight after later ones.
    """

    schemes = ("mqtt", "mqtts")
    address = "host:1883"
    options = MqttOptions

    def __init__(self, url: str, options: MqttOptions, around: Surroundings) -> None:
        """See `Broker`."""
        with required("mqtt", "an mqtt:// URL", "url"):
            from paho.mqtt import client
        del client
        parts = urlsplit(url)
        if "," in parts.netloc.rpartition("@")[2]:
            raise ConfigError(
                [Problem("an mqtt:// url has a single host; put a load balancer in front of several", "url")]
            )
        self._options = options
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password) if parts.password is not None else None
        self._tls = around.tls.context if parts.scheme == "mqtts" else None
        self._timeout = min(around.timeout, _CONNECT_SECONDS)
        self._room = options.max_inflight
        self._most: int | None = None
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[int, tuple[Confirms, int]] = {}

    async def open(self) -> None:
        """Does nothing: connections are made on demand."""

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`."""
        client = await self._connected()
        self.leadership.check()
        confirms, retain = Confirms(messages), self._options.retain
        numbers: list[int] = []
        try:
            for index, message in enumerate(messages):
                try:
                    if (unfit := self._unfit(message)) is not None:
                        raise ValueError(unfit)
                    properties = self._properties(message)
                    sent = client.publish(message.target, message.body, _AT_LEAST_ONCE, retain, properties)
                except ValueError as error:  # nothing was sent
                    confirms.resolve(index, Refused(f"{self._about}: the message cannot be sent: {error}", local=True))
                else:
                    numbers.append(sent.mid)
                    self._waiting[sent.mid] = (confirms, index)
            if client is not self._client or not client.is_connected():
                confirms.fail(EndpointDown(f"{self._about}: the connection is lost"))
            return await confirms.all()
        except asyncio.CancelledError:
            self._hang_up("given up, because there was no answer in time")  # a connection that hangs is not reused
            raise
        finally:
            for number in numbers:
                self._waiting.pop(number, None)

    async def check(self, targets: Sequence[str]) -> str:
        """See `Broker.check`."""
        await self._connected()
        return f"{self._about} answers"

    async def close(self) -> None:
        """See `Broker.close`."""
        self._hang_up("it is closed")

    @property
    def _about(self) -> str:
        return f"mqtt at {self._host}:{self._port}"

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected():
                self._client = await self._connect()
                self._keep_alive()
            return self._client

    async def _connect(self) -> Client:
        client, greeting = await self._log_in()
        # The number of messages in flight must be known before the client connects.
        if (room := getattr(greeting, "ReceiveMaximum", self._room)) < self._room:
            self._room = room
            _end(client)
            client, greeting = await self._log_in()
        self._most = getattr(greeting, "MaximumPacketSize", None)
        return client

    async def _log_in(self) -> tuple[Client, Any]:
        """Returns a client that the broker has accepted, and the properties of its CONNACK."""
        loop: Any = asyncio.get_running_loop()
        greeting: asyncio.Future[tuple[Any, Any]] = loop.create_future()
        client = self._make(greeting)
        dialling = loop.run_in_executor(None, client.connect, self._host, self._port, self._options.keepalive)
        try:
            await asyncio.shield(dialling)
            if (sock := client.socket()) is None:
                raise ConnectionResetError("connection lost; does the broker ask for a client_certificate?")
            loop.add_reader(sock.fileno(), self._read, client, sock)
            client.on_socket_register_write = lambda *_: loop.add_writer(sock.fileno(), client.loop_write)
            client.on_socket_unregister_write = lambda *_: loop.remove_writer(sock.fileno())
            client.on_socket_close = lambda *_: loop.remove_reader(sock.fileno())
            async with asyncio.timeout(self._timeout):
                reason, properties = await greeting
        except asyncio.CancelledError:
            dialling.add_done_callback(lambda done: None if done.cancelled() or done.exception() else _end(client))
            raise
        except TimeoutError as error:
            _end(client)
            why = f"no answer within {self._timeout:g} s"
            raise unreachable(self._about, f"{self._host}:{self._port}", why) from error
        except OSError as error:
            raise unreachable(self._about, f"{self._host}:{self._port}", error) from error
        if reason.is_failure:
            _end(client)
            raise EndpointDown(f"{self._about} rejects the login: {reason}; fix the user and password in the url")
        return client, properties

    def _make(self, greeting: asyncio.Future[tuple[Any, Any]]) -> Client:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(
            CallbackAPIVersion.VERSION2,
            self._options.client_id,
            protocol=MQTTv5 if self._options.version == "5" else MQTTv311,
            reconnect_on_failure=False,
        )
        client.enable_logger(_log)
        client.connect_timeout = self._timeout
        client.max_inflight_messages = self._room
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
            client.tls_insecure_set(not self._tls.check_hostname)  # otherwise it would check by itself
        client.on_connect = lambda client, data, flags, reason, properties: resolve(greeting, (reason, properties))
        client.on_disconnect = lambda client, data, flags, reason, properties: self._on_disconnect(
            client, reason, greeting
        )
        client.on_publish = self._on_publish
        return client

    def _keep_alive(self) -> None:
        client = self._client
        if client is not None and client.is_connected():
            client.loop_misc()
            self._timer = asyncio.get_running_loop().call_later(self._options.keepalive / 8, self._keep_alive)

    def _on_disconnect(self, client: Client, reason: Any, greeting: asyncio.Future[tuple[Any, Any]]) -> None:
        resolve(greeting, (reason, None))
        if client is self._client:
            self._fail(EndpointDown(f"{self._about}: the connection is lost ({reason})"))

    def _read(self, client: Client, sock: Any) -> None:
        if self._waiting and self.leadership.lapsed:
            self._hang_up(LAPSED)  # each acknowledgement would let the client send another message
            return
        client.loop_read()
        # The event loop does not report data that TLS has already read from the socket.
        while isinstance(sock, ssl.SSLSocket) and client.socket() is not None and sock.pending():
            client.loop_read()

    def _on_publish(self, _client: Any, _data: Any, number: int, reason: Any, _properties: Any) -> None:
        confirms, index = self._waiting.pop(number, (None, 0))
        if confirms is not None:
            confirms.resolve(index, self._failure(reason) if reason.is_failure else None)

    def _failure(self, reason: Any) -> DeliveryError:
        text = f"{self._about}: {reason}"
        if reason.value == _QUOTA:
            return EndpointDown(text)
        refused = (_NOT_AUTHORIZED, _BAD_TOPIC, _TOO_LARGE, _BAD_PAYLOAD)
        return Refused(text) if reason.value in refused else Ambiguous(text)

    def _unfit(self, message: Message) -> str | None:
        """Why the broker will never accept a message."""
        if not message.target or _UNFIT.search(message.target):
            return f"{message.target[:100]!r} is not a topic: a topic is not empty and contains no control characters"
        if self._most is not None and (size := len(message.body) + len(message.target) + _OVERHEAD) > self._most:
            return f"its {size} bytes exceed the broker's limit of {self._most}; raise the limit"
        return None

    def _properties(self, message: Message) -> Any:
        if self._options.version != "5":
            return None
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        headers = dict(message.headers)
        properties.ContentType = headers.pop("content-type").decode()
        pairs = [("mess-id", message.id)]
        if message.key is not None:
            pairs.append(("mess-key", _fit(message.key)))
        properties.UserProperty = pairs + [(name, _fit(value)) for name, value in headers.items()]
        return properties

    def _fail(self, failure: DeliveryError) -> None:
        waiting = {id(confirms): confirms for confirms, _ in self._waiting.values()}
        self._waiting.clear()
        for confirms in waiting.values():
            confirms.fail(failure)

    def _hang_up(self, why: str) -> None:
        client, self._client = self._client, None
        if self._timer is not None:
            self._timer.cancel()
        if client is not None:
            self._fail(EndpointDown(f"{self._about}: the connection is lost ({why})"))
            _end(client)


def _fit(value: bytes) -> str:
    text = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", value.decode())
    if len(value) > _LONG and len(text.encode()) > _MOST_BYTES:
        raise ValueError(f"a header or key of more than {_MOST_BYTES} bytes")
    return text


def _end(client: Client) -> None:
    client.disconnect()
    client.loop_write()
    sock: Any = client.socket()
    if sock is not None:  # the broker does not read any more
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        client.loop_read()
