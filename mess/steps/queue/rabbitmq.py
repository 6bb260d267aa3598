"""RabbitMQ, with pika (AMQP 0-9-1; https://www.rabbitmq.com/docs/confirms)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from mess.errors import ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.options.extras import required
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.confirms import Confirms, resolve
from mess.steps.queue.unreachable import unreachable

if TYPE_CHECKING:
    from pika.adapters.asyncio_connection import AsyncioConnection
    from pika.channel import Channel

_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_PERSISTENT = 2
_SHORT_STRING = 255
_PROPERTIES = 1000  # maximum bytes of a frame besides key and headers
# https://www.rabbitmq.com/amqp-0-9-1-reference, Constants
_ACCESS_REFUSED, _NOT_FOUND, _PRECONDITION_FAILED = 403, 404, 406
_log = logging.getLogger("pika")
_log.addHandler(logging.NullHandler())  # the client's messages also come with its errors
_log.propagate = False


class RabbitOptions(BrokerOptions):
    """RabbitMQ. `target` is the routing key; with the default exchange that is the name of a queue. Always with
    publisher confirms.

    The property `message_id` is the event's id, the header `mess-key` its key.
    """

    exchange: str = Field("", max_length=255)
    """The exchange to publish to, which must exist. Default: the default exchange, which routes to the queue named by
    `target`."""
    persistent: bool = True
    """Whether messages survive a restart of the server, in durable queues."""
    mandatory: bool = True
    """Whether an event that no queue takes is refused. Without it, RabbitMQ drops such events and confirms them."""
    declare: Literal["quorum", "classic", "stream"] | None = None
    """Declares a durable queue of this type for each `target`, with the same name, before anything is published to it,
    and binds it to the exchange with `target` as the routing key. Default: you create queues yourself."""

    def unfit_header(self, name: str) -> str | None:
        """See `BrokerOptions`; the limit is that of AMQP's short strings."""
        if len(name.encode()) > _SHORT_STRING:
            return f"RabbitMQ cannot have a header {name[:20]!r}…: a name has at most 255 bytes"
        return super().unfit_header(name)


class RabbitBroker(Broker):
    """See `RabbitOptions`.

    Messages that are published together use a channel of their own: RabbitMQ reports many errors by closing the
    channel, which loses everything in flight on it.
    """

    schemes = ("amqp", "amqps")
    address = "host:5672/vhost"
    options = RabbitOptions

    def __init__(self, url: str, options: RabbitOptions, around: Surroundings) -> None:
        """See `Broker`."""
        with required("rabbitmq", "an amqp:// URL", "url"):
            import pika
        parts = urlsplit(url)
        credentials, _, self._hosts = parts.netloc.rpartition("@")
        at = f"{credentials}@" if credentials else ""
        self._options = options
        self._parameters = []
        for host in self._hosts.split(","):
            try:
                # A path that is only a slash would select a virtual host with an empty name, which does not exist.
                path = parts.path if parts.path != "/" else ""
                one = pika.URLParameters(parts._replace(netloc=at + host, path=path).geturl())
            except (ValueError, TypeError) as error:
                remedy = "write it like amqp://user:password@host:5672/vhost"
                raise ConfigError([Problem(f"RabbitMQ's client does not accept the url; {remedy}", "url")]) from error
            if parts.scheme == "amqps":
                one.ssl_options = pika.SSLOptions(around.tls.context, one.host)
            one.client_properties = {"connection_name": "mess"}
            one.socket_timeout = one.stack_timeout = min(around.timeout, _CONNECT_SECONDS)
            self._parameters.append(one)
        self._connection: AsyncioConnection | None = None
        self._connecting = asyncio.Lock()
        self._blocked: str | None = None
        self._free: list[_Channel] = []
        self._declared: set[str] = set()

    async def open(self) -> None:
        """Does nothing: connections are made on demand."""

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`."""
        async with self._using_a_channel() as channel:
            if self._options.declare is not None:
                await self._declare(channel, {message.target for message in messages})
            self.leadership.check()
            failures = await channel.publish(messages)
        self._free.append(channel)
        return failures

    async def check(self, targets: Sequence[str]) -> str:
        """See `Broker.check`."""
        async with self._using_a_channel() as channel:
            if self._options.exchange:
                await channel.find_exchange(self._options.exchange)
            elif self._options.mandatory and self._options.declare is None:
                for target in targets:
                    await channel.find_queue(target)
        channel.close()
        return f"{self._about} answers"

    async def close(self) -> None:
        """See `Broker.close`."""
        connection = self._connection
        if connection is not None and connection.is_open:
            closed = asyncio.get_running_loop().create_future()
            connection.add_on_close_callback(lambda *_: resolve(closed))
            connection.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await closed

    @property
    def _about(self) -> str:
        return f"rabbitmq at {self._hosts}"

    @asynccontextmanager
    async def _using_a_channel(self) -> AsyncIterator[_Channel]:
        """A channel that is closed if its user fails."""
        channel = None
        try:
            channel = await self._channel()
            yield channel
        except BaseException as error:
            # A channel that hangs is not reused. But a connection that was told to wait must stay open, to hear when it
            # may continue.
            if isinstance(error, asyncio.CancelledError) and self._blocked is None:
                self._hang_up()
            if channel is not None:
                channel.close()
            raise

    async def _channel(self) -> _Channel:
        if self._blocked is not None:
            raise EndpointDown(f"{self._about} accepts nothing at present: {self._blocked}; check its alarms")
        while self._free:
            if (channel := self._free.pop()).is_open:
                return channel
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._connect()
            return await _Channel.open(self._connection, self._options, self._about)

    async def _connect(self) -> AsyncioConnection:
        from pika.adapters.asyncio_connection import AsyncioConnection

        self._declared.clear()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        work = AsyncioConnection.create_connection(self._parameters, on_done=partial(resolve, done))
        try:
            made = await done
        except asyncio.CancelledError:
            work.abort()
            raise
        if not isinstance(made, AsyncioConnection):
            raise _failed(self._about, self._hosts, made)
        made.add_on_connection_blocked_callback(self._on_blocked)
        for no_longer in (made.add_on_connection_unblocked_callback, made.add_on_close_callback):
            no_longer(self._on_unblocked)
        return made

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._blocked = frame.method.reason or "no reason given"

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._blocked = None

    def _hang_up(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        self._connection = None

    async def _declare(self, channel: _Channel, targets: set[str]) -> None:
        for target in sorted(filter(_declarable, targets - self._declared)):
            await channel.declare(target)
            self._declared.add(target)


def _declarable(queue: str) -> bool:
    # Other names concern only the events that they came from, which are refused when they are published.
    return 0 < len(queue.encode()) <= _SHORT_STRING and not queue.startswith("amq.")


class _Channel:
    """A channel with confirms, for one use at a time."""

    def __init__(self, options: RabbitOptions, about: str) -> None:
        self._options = options
        self._about = about
        self._pika: Channel
        self._asked: asyncio.Future[Any] | None = None
        self._confirms: Confirms | None = None
        self._sent = 0
        self._waiting: dict[int, int] = {}
        self._returned: dict[int, DeliveryError] = {}

    @classmethod
    async def open(cls, connection: AsyncioConnection, options: RabbitOptions, about: str) -> _Channel:
        """Open a channel on a connection."""
        made = cls(options, about)

        def ask(answer: Callable[[Any], None]) -> None:
            made._pika = connection.channel(on_open_callback=answer)
            made._pika.add_on_close_callback(made._on_close)

        await made._ask(ask)
        made._pika.add_on_return_callback(made._on_return)
        await made._ask(lambda answer: made._pika.confirm_delivery(made._on_confirm, answer))
        return made

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return bool(self._pika.is_open)

    def close(self) -> None:
        """Close it."""
        if self._pika.is_open:
            self._pika.close()

    async def find_exchange(self, name: str) -> None:
        """Raises EndpointDown if the exchange does not exist."""
        await self._ask(lambda answer: self._pika.exchange_declare(name, passive=True, callback=answer))

    async def find_queue(self, name: str) -> None:
        """Raises EndpointDown if the queue does not exist."""
        await self._ask(lambda answer: self._pika.queue_declare(name, passive=True, callback=answer))

    async def declare(self, name: str) -> None:
        """Make sure that a queue exists and is bound to the exchange."""
        arguments = {"x-queue-type": self._options.declare}
        await self._ask(
            lambda answer: self._pika.queue_declare(name, durable=True, arguments=arguments, callback=answer)
        )
        if exchange := self._options.exchange:
            await self._ask(lambda answer: self._pika.queue_bind(name, exchange, name, callback=answer))

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """See `Broker.publish`."""
        from pika.exceptions import AMQPError

        confirms = self._confirms = Confirms(messages)
        self._returned.clear()
        exchange, mandatory, publish = self._options.exchange, self._options.mandatory, self._pika.basic_publish
        for index, message in enumerate(messages):
            if not self._pika.is_open:
                break
            try:
                self._measure(message)
                publish(exchange, message.target, message.body, self._properties(message), mandatory)
            except (AMQPError, ValueError) as error:  # nothing was sent
                reason = f"{self._about}: the message cannot be sent: {type(error).__name__}: {error}"
                confirms.resolve(index, Refused(reason, local=True))
            else:
                self._sent += 1
                self._waiting[self._sent] = index
        try:
            if not self._pika.is_open:
                confirms.fail(EndpointDown(f"{self._about}: the channel is closed"))
            return await confirms.all()
        finally:
            self._confirms = None

    def _measure(self, message: Message) -> None:
        """Raises ValueError if a message's properties do not fit into a frame, over which RabbitMQ would disconnect."""
        most = self._pika.connection.params.frame_max
        size = _PROPERTIES + len(message.key or b"") + sum(len(value) for _, value in message.headers)
        if size + _SHORT_STRING * len(message.headers) > most:
            size += sum(len(name.encode()) for name, _ in message.headers)
        if size > most:
            raise ValueError(f"key and headers are larger than a frame, {most} bytes")

    def _properties(self, message: Message) -> Any:
        from pika import BasicProperties

        headers: dict[str, Any] = {} if message.key is None else {"mess-key": message.key.decode()}
        for name, value in message.headers:
            headers[name] = value.decode()
        return BasicProperties(
            content_type=headers.pop("content-type", None),
            delivery_mode=_PERSISTENT if self._options.persistent else None,
            message_id=message.id,
            headers=headers,
        )

    async def _ask(self, ask: Callable[[Callable[[Any], None]], Any]) -> None:
        answered = self._asked = asyncio.get_running_loop().create_future()
        try:
            ask(partial(resolve, answered))
            await answered
        finally:
            self._asked = None

    def _on_confirm(self, frame: Any) -> None:
        from pika.spec import Basic

        method, waiting, confirms = frame.method, self._waiting, self._confirms
        last = method.delivery_tag
        tags = list(takewhile(lambda tag: tag <= last, waiting)) if method.multiple else [last]
        failure = None
        if isinstance(method, Basic.Nack):
            failure = EndpointDown(f"{self._about} did not take it (nack): is the queue full? See its log")
        for tag in tags:
            index = waiting.pop(tag, None)
            if confirms is not None and index is not None:
                confirms.resolve(index, failure or self._returned.get(index))

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: Any) -> None:
        """Called before the message's confirmation."""
        where = f"exchange {method.exchange!r}, routing key {method.routing_key!r}" if method.exchange else ""
        where = where or f"queue {method.routing_key!r}"
        failure = Refused(
            f"{self._about} cannot route it ({method.reply_text}: {where}); create the queue, or bind one"
        )
        if self._confirms is not None:
            for index, message in enumerate(self._confirms.messages):
                if message.id == properties.message_id:
                    self._returned[index] = failure

    def _on_close(self, _channel: Any, reason: Any) -> None:
        failure = self._failure(reason)
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(failure)
        if self._confirms is not None:
            self._confirms.fail(failure)

    def _failure(self, reason: Any) -> DeliveryError:
        code, text = getattr(reason, "reply_code", 0), getattr(reason, "reply_text", "") or str(reason)
        told = f"{self._about}: {text}"
        publishing = self._confirms is not None
        one_topic = code == _ACCESS_REFUSED and "to topic" in text
        if one_topic or (publishing and code == _PRECONDITION_FAILED):
            return Refused(told)
        remedies = {
            _NOT_FOUND: "create it, or fix the name" if publishing else "create it, or fix the name; or see `declare`",
            _ACCESS_REFUSED: "allow the url's user to do that",
            _PRECONDITION_FAILED: "it already exists with other properties: delete it, or leave out `declare`",
        }
        return EndpointDown(f"{told}; {remedies[code]}" if code in remedies else told)


def _failed(about: str, hosts: str, failure: Any) -> EndpointDown:
    """The error for a connection that could not be made, from what pika's connection workflow collected."""
    while inner := (getattr(failure, "exceptions", None) or [getattr(failure, "exception", None)])[-1]:
        failure = inner
    from pika import exceptions

    if isinstance(failure, (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError)):
        return EndpointDown(f"{about}: it does not accept the user or password; check the url")
    if isinstance(failure, exceptions.ProbableAccessDeniedError) or getattr(failure, "reply_code", 0) == 530:
        return EndpointDown(
            f"{about}: {failure}; check the virtual host at the end of the url, or give the user access to it"
        )
    return unreachable(about, hosts, failure)
