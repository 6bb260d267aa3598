"""NATS JetStream, with nats-py (https://docs.nats.io/nats-concepts/jetstream)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import orjson
from pydantic import Field

from mess.errors import Ambiguous, ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.files import read_bounded
from mess.options.base import Options
from mess.options.extras import required
from mess.options.values import Duration, Size
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.confirms import Confirms
from mess.steps.queue.unreachable import is_connection_failure, unreachable
from mess.telemetry.redact import learn

if TYPE_CHECKING:
    from nats.aio.client import Client

_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_MAX_CREDENTIALS = 64 * 1024
_PING_SECONDS = 20
_NO_RESPONDERS = "503"
_LONGEST_SUBJECT = 4000  # bytes: a server reads lines of 4096, including lengths, and disconnects over a longer one
_SUBJECT = re.compile(r"[^\s.*>\0]+(\.[^\s.*>\0]+)*")
_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]*)\"", re.IGNORECASE)
# The bytes around all headers, and around each header: a colon, a space, the line end.
_FRAME, _LINE = 16, 4
_OVERHEAD, _MOST_BYTES = 300, 4  # maximum bytes of a header besides its value, and of one character of it
_log = logging.getLogger("nats")
_log.addHandler(logging.NullHandler())  # the client's messages also come with its errors
_log.propagate = False


class NatsStream(Options):
    """A stream to create if it does not exist, also by `mess check`; an existing one is not changed."""

    name: str = Field(pattern=r"^[^\s.*>/\\\x00]+$")
    """The stream's name."""
    subjects: tuple[str, ...] = Field(min_length=1)
    """The subjects of the stream, as in `shop.>`: they must include the step's `target`."""
    replicas: int = Field(1, ge=1, le=5)
    """The number of servers that store it."""
    storage: Literal["file", "memory"] = "file"
    """Where it is stored."""
    max_age: Duration | None = None
    """How long it keeps a message. Default: forever."""
    max_bytes: Size | None = None
    """Its maximum size; beyond it, the oldest messages are removed. Default: unlimited."""
    duplicate_window: Duration = 120.0
    """How long it remembers ids, to drop duplicates."""


class NatsOptions(BrokerOptions):
    """NATS JetStream. `target` is the subject; a stream must include it. The stream acknowledges each message.

    The header `Nats-Msg-Id` is the event's id, which the stream uses to drop duplicates within its duplicate window;
    `mess-key` is its key.
    """

    stream: NatsStream | None = None
    """A stream to create if it does not exist. Default: you create streams yourself."""
    credentials: str | None = None
    """A file with a JWT and its seed (`.creds`), or with a seed alone (`.nk`), instead of user and password or a token
    in the url; a relative path starts at the config file's folder."""
    tls_first: bool = False
    """Whether the server expects TLS before it sends anything (its `handshake_first`)."""

    def unfit_header(self, name: str) -> str | None:
        """See `BrokerOptions`; the rule is HTTP's (RFC 9110, 5.6.2)."""
        if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            return None
        return f"NATS cannot have a header {name!r}: use only letters, digits, - _ . and similar characters"


class NatsBroker(Broker):
    """See `NatsOptions`.

    Acknowledgements arrive at one inbox, identified by the number at the end of a message's reply subject. That takes
    half the time of the client's own `publish_async`, which creates a future for each.
    """

    schemes = ("nats", "tls")
    address = "host:4222"
    options = NatsOptions

    def __init__(self, url: str, options: NatsOptions, around: Surroundings) -> None:
        """See `Broker`."""
        with required("nats", "a nats:// URL", "url"):
            import nats.aio.client
            import nkeys
        del nkeys  # the client imports it by itself if there are credentials
        self._make = nats.aio.client.Client
        self._options = options
        parts = urlsplit(url)
        self._user, self._password = unquote(parts.username or ""), parts.password and unquote(parts.password)
        self._secure = parts.scheme == "tls"
        self._hosts = parts.netloc.rpartition("@")[2]
        self._tls = around.tls.context
        self._timeout = min(around.timeout, _CONNECT_SECONDS)
        self._credentials = None if options.credentials is None else around.directory / options.credentials
        if self._credentials is not None and not self._credentials.is_file():
            text = f"there is no file {self._credentials}; use one with a JWT and its seed, as written by `nsc`"
            raise ConfigError([Problem(text, "nats.credentials")])
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._numbers = count()
        self._inbox = ""
        self._waiting: dict[int, tuple[Confirms, int]] = {}

    async def open(self) -> None:
        """Does nothing: connections are made on demand."""

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`."""
        client = await self._connected()
        self.leadership.check()
        confirms, waiting, inbox = Confirms(messages), self._waiting, self._inbox
        publish, most = client.publish, client.max_payload
        numbers: list[int] = []
        try:
            for index, message in enumerate(messages):
                headers = _headers(message)
                if (refusal := _unfit(message, headers, most)) is not None:
                    confirms.resolve(index, Refused(f"{self._about}: {refusal}", local=True))
                    continue
                number = next(self._numbers)
                numbers.append(number)
                waiting[number] = (confirms, index)
                await publish(message.target, message.body, f"{inbox}.{number}", headers)
            if client is not self._client:
                confirms.fail(EndpointDown(f"{self._about}: the connection is lost"))
            return await confirms.all()
        except asyncio.CancelledError:
            await self._hang_up()  # a connection that hangs is not reused
            raise
        except DeliveryError:
            raise
        except Exception as error:  # the client has different errors for every state of a connection
            raise EndpointDown(f"{self._about}: {error}") from error
        finally:
            for number in numbers:
                waiting.pop(number, None)

    async def check(self, targets: Sequence[str]) -> str:
        """See `Broker.check`."""
        from nats import errors
        from nats.js.errors import NotFoundError, ServiceUnavailableError

        client = await self._connected()
        jetstream = client.jetstream(timeout=self._timeout)
        try:
            for target in targets:
                await jetstream.find_stream_name_by_subject(target)
        except NotFoundError as error:
            raise Refused(
                f"{self._about} has no stream with the subject {target}; create one, or see nats: {{stream: …}}"
            ) from error
        except (errors.NoRespondersError, ServiceUnavailableError) as error:
            raise EndpointDown(
                f"{self._about} has no JetStream; enable it (-js), or enable it for this account"
            ) from error
        except errors.TimeoutError:
            pass  # permission to publish does not imply permission to ask
        return f"nats at {self._hosts} answers"

    async def close(self) -> None:
        """See `Broker.close`."""
        await self._hang_up()

    @property
    def _about(self) -> str:
        return f"nats at {self._hosts}"

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> Client:
        trouble: Exception | None = None
        for host in self._hosts.split(","):
            client = self._make()
            try:
                await self._log_in(client, host)
                await self._make_stream(client)
                self._inbox = client.new_inbox()
                await client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
            except asyncio.CancelledError:
                await _close(client)
                raise
            except Exception as error:
                trouble = error
                await _close(client)
            else:
                return client
        if isinstance(trouble, DeliveryError):
            raise trouble
        if trouble is not None and is_connection_failure(trouble):
            raise unreachable(self._about, self._hosts, trouble) from trouble
        raise EndpointDown(f"{self._about}: {_why(trouble)}") from trouble

    async def _log_in(self, client: Client, host: str) -> None:
        async def on_closed() -> None:
            if self._client is client:
                self._fail(EndpointDown(f"{self._about}: the connection is lost"))

        async def on_error(error: Exception) -> None:
            if logging_in:
                raise error  # otherwise it would retry forever
            self._on_error(error)

        def secret() -> str:
            # Check just before sending: the client continues without TLS if the server does not ask for it.
            if self._secure and not client._server_info.get("tls_required"):
                raise EndpointDown(f"{self._about} does not ask for TLS, although its url says so")
            return self._password or self._user

        logging_in = True
        login: dict[str, Any] = {}
        if self._credentials is not None:
            content = read_bounded(self._credentials, _MAX_CREDENTIALS)
            learn(*(line for line in content.decode("utf-8", "replace").splitlines() if not line.startswith("-")))
            kind = "user_credentials" if b"JWT" in content else "nkeys_seed"
            login = {kind: str(self._credentials)}
        elif self._password is not None:
            login = {"user": self._user, "password": secret}
        elif self._user:
            login = {"token": secret}
        try:
            await client.connect(
                f"{'tls' if self._secure else 'nats'}://{host}",
                name="mess",
                allow_reconnect=False,
                connect_timeout=self._timeout,  # type: ignore[arg-type] # seconds, of any kind
                ping_interval=_PING_SECONDS,
                tls=self._tls,
                tls_handshake_first=self._options.tls_first,
                error_cb=on_error,
                disconnected_cb=on_closed,
                closed_cb=on_closed,
                **login,
            )
        finally:
            logging_in = False

    async def _make_stream(self, client: Client) -> None:
        from nats.js.api import StorageType, StreamConfig
        from nats.js.errors import APIError, NotFoundError

        if (wanted := self._options.stream) is None:
            return
        jetstream = client.jetstream(timeout=self._timeout)
        try:
            try:
                await jetstream.stream_info(wanted.name)
            except NotFoundError:
                await jetstream.add_stream(
                    StreamConfig(
                        name=wanted.name,
                        subjects=list(wanted.subjects),
                        num_replicas=wanted.replicas,
                        storage=StorageType(wanted.storage),
                        max_age=wanted.max_age or 0,
                        max_bytes=wanted.max_bytes or -1,
                        duplicate_window=wanted.duplicate_window,
                    )
                )
        except APIError as error:
            text = f"{self._about}: the stream {wanted.name} cannot be created: {error.description}"
            raise EndpointDown(f"{text}; fix nats: {{stream: …}}, or create it yourself") from error

    async def _on_answer(self, answer: Any) -> None:
        number = answer.subject.rpartition(".")[2]
        confirms, index = self._waiting.pop(int(number) if number.isdecimal() else -1, (None, 0))
        if confirms is None:
            return
        if answer.headers and answer.headers.get("Status") == _NO_RESPONDERS:
            # This also happens while a stream's leader is being elected; only the outcome of other messages shows which
            # it is.
            subject = confirms.messages[index].target
            confirms.resolve(
                index, Ambiguous(f"{self._about} currently has no stream with the subject {subject}; create one")
            )
            return
        confirms.resolve(index, self._outcome(answer.data))

    def _outcome(self, answer: bytes) -> DeliveryError | None:
        """Interpret JetStream's answer to a publication; None if the message is stored."""
        try:
            found = orjson.loads(answer)
            if "error" not in found:
                return None
            error = found["error"]
            text = f"{self._about}: {error.get('description')} ({error.get('err_code')})"
            return EndpointDown(text) if error.get("code", 500) >= 500 else Refused(text)
        except Exception as error:  # an exception caused by outside data must not get lost in a callback
            return Ambiguous(f"{self._about} sends an acknowledgement that cannot be read: {type(error).__name__}")

    def _on_error(self, error: Exception) -> None:
        """Called for errors that do not answer a single message."""
        found = _VIOLATION.search(str(error))
        if found is None:
            return  # the connection is lost, which is reported separately
        what, subject = found.groups()
        if what.lower() == "subscription":
            self._fail(EndpointDown(f"{self._about} does not let the user subscribe to {subject}: allow _INBOX.>"))
            return
        failure = Refused(f"{self._about} does not let the user publish to {subject}")
        for number, (confirms, index) in list(self._waiting.items()):
            if confirms.messages[index].target == subject:
                del self._waiting[number]
                confirms.resolve(index, failure)

    def _fail(self, failure: DeliveryError) -> None:
        waiting = {id(confirms): confirms for confirms, _ in self._waiting.values()}
        self._waiting.clear()
        for confirms in waiting.values():
            confirms.fail(failure)

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._fail(EndpointDown(f"{self._about}: the connection was given up, because there was no answer in time"))
            await _close(client)


async def _close(client: Client) -> None:
    with suppress(Exception):  # errors of a broken connection while closing don't matter
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()


def _headers(message: Message) -> dict[str, str]:
    headers = {"Nats-Msg-Id": message.id}
    if message.key is not None:
        headers["mess-key"] = message.key.decode()
    for name, value in message.headers:
        headers[name] = value.decode()
    return headers


def _unfit(message: Message, headers: Mapping[str, str], most: int) -> str | None:
    """Why NATS will never accept a message."""
    # The server counts the headers too, and disconnects over a message that is too large.
    size = len(message.body) + _OVERHEAD * len(headers) + _MOST_BYTES * sum(map(len, headers.values()))
    if size > most:
        size = len(message.body) + _FRAME
        size += sum(len(name.encode()) + len(value.encode()) + _LINE for name, value in headers.items())
    if size > most:
        return f"the message is larger than its max_payload, {most} bytes; raise that (to 64MB at the most)"
    if _SUBJECT.fullmatch(message.target) is None:
        return f"{message.target!r} is not a subject: it must be tokens separated by dots, without spaces, * or >"
    if len(message.target.encode()) > _LONGEST_SUBJECT:
        return f"the subject {message.target[:100]}… is longer than the {_LONGEST_SUBJECT} bytes that a server reads"
    return None


def _why(error: Exception | None) -> str:
    text = str(error) or type(error).__name__
    if "Authorization" in text:
        return f"{text}; fix the user and password, or the token, in the url, or nats: {{credentials: …}}"
    if isinstance(error, ConnectionResetError):
        return f"{text}; does the server ask for a client's certificate? See client_certificate"
    return text
