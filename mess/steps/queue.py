"""The queue step: events as messages of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from bson import ObjectId
from pydantic import AfterValidator, Field, model_validator

from mess.envelope import Format
from mess.errors import BatchError, ConfigError, EndpointDown, Problem, Refused
from mess.event import Event, Namespace
from mess.queues import SECTIONS
from mess.queues.broker import Broker, Message
from mess.queues.kafka import KafkaBroker, KafkaOptions
from mess.queues.redis import RedisBroker, RedisOptions
from mess.step import Context, Sink, StepConfig
from mess.template import Template, TemplateText, written
from mess.values import Duration

_named: Callable[[Namespace], str] = lru_cache(maxsize=10_000)(str)
_REPLAY = ("mess-replay", b"true")


def _broker_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        scheme = parts.scheme
        # Kafka has several hosts, with commas between.
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
        named = all(host.hostname for host in hosts) and all(host.port != 0 for host in hosts)
    except ValueError as error:
        raise ValueError("not a URL; write it like redis://host:6379") from error
    if scheme not in SECTIONS:
        known = ", ".join(f"{name}://" for name in SECTIONS)
        raise ValueError(f"no broker has urls that begin with {scheme or 'nothing'}://; known are {known}")
    if not named:
        raise ValueError(f"names no host; write it like {scheme}://host")
    return value


class QueueConfig(StepConfig, Format):
    """Publishes each event to a broker, and hands it on unchanged when the broker has confirmed it.

    The url's scheme picks the broker. A broker that is not there holds the events back until it returns; what it will
    never take (too large, denied, no such topic) is refused, and `on_failure` decides. In `target`, `key` and
    `headers`, `{…}` stands for a value of the event: `{db}`, `{collection}`, `{operation}`, `{$id}`, or a path in its
    body.
    """

    name: ClassVar[str] = "queue"

    url: Annotated[str, AfterValidator(_broker_url)]
    """Where the broker is: `kafka://host:9092,host2:9092` or `redis://host:6379/0`; with TLS `kafkas://…` or
    `rediss://…`. User and password may stand in it; they are never shown."""
    target: TemplateText = "{db}.{collection}"
    """What to publish to: a topic's or stream's name, as a template."""
    key: TemplateText | None = None
    """What the broker is to partition and order by, as a template. Default: the document's `_id`."""
    headers: dict[str, TemplateText] = Field(default_factory=dict)
    """Further headers, their values as templates."""
    timeout: Duration = 30.0
    """How long the broker may take to confirm what it is given at a time."""
    ca: str | None = None
    """A file of certificates (PEM) to trust instead of the system's; a relative path starts at the config file."""
    verify: bool = True
    """Whether the broker's certificate is checked. Turn it off for tests only."""
    kafka: KafkaOptions | None = None
    """What only Kafka has."""
    redis: RedisOptions | None = None
    """What only Redis has."""

    @model_validator(mode="after")
    def _own_section(self) -> Self:
        own = SECTIONS[urlsplit(self.url).scheme]
        for section in sorted(set(SECTIONS.values()) - {own}):
            if getattr(self, section) is not None:
                raise ValueError(f"{section} is for another broker than the url's; its own section is {own}")
        return self

    def describe(self) -> str:
        """The step, the broker's host and the target."""
        parts = urlsplit(self.url)
        return f"queue {parts.scheme}://{parts.netloc.rpartition('@')[2]} {self.target}"

    def build(self, context: Context) -> Queue:
        """Make the step. Raises ConfigError when the broker's client is not installed, or `ca` cannot be read."""
        ca = None if self.ca is None else context.directory / self.ca
        if ca is not None and not ca.is_file():
            raise ConfigError([Problem(f"there is no file {ca}; name a PEM file of certificates to trust", "ca")])
        return Queue(self, self._broker(None if ca is None else str(ca)))

    def _broker(self, ca: str | None) -> Broker:
        if SECTIONS[urlsplit(self.url).scheme] == "kafka":
            return KafkaBroker(self.url, self.kafka or KafkaOptions(), ca=ca, verify=self.verify)
        return RedisBroker(self.url, self.redis or RedisOptions(), timeout=self.timeout, ca=ca, verify=self.verify)


class Queue(Sink):
    """See `QueueConfig`."""

    def __init__(self, config: QueueConfig, broker: Broker) -> None:
        self.lanes = broker.lanes
        self._broker = broker
        self._timeout = config.timeout
        self._encode = config.envelope().encode
        self._target = Template(config.target)
        # Most targets depend on the namespace alone, and there are few of those.
        self._by_namespace = config.target == "{db}.{collection}"
        self._key: Callable[[Event], str | None] = _document_key if config.key is None else Template(config.key)
        self._content_type = ("content-type", config.envelope().content_type.encode())
        self._headers = [(name, Template(text)) for name, text in config.headers.items()]

    async def open(self) -> None:
        """Get the broker's client ready."""
        await self._broker.open()

    async def check(self) -> str:
        """Connect and log in, publish nothing."""
        targets = [self._target.text] if self._target.constant else []
        try:
            async with asyncio.timeout(self._timeout):
                return await self._broker.check(targets)
        except TimeoutError as error:
            raise EndpointDown(f"no answer within {self._timeout:g} s") from error

    async def close(self) -> None:
        """Let go of the connection."""
        await self._broker.close()

    async def deliver(self, events: Sequence[Event]) -> None:
        """Publish the events in order; return when the broker has confirmed them all."""
        messages: list[Message] = []
        places: list[int] = []
        errors: dict[int, Exception] = {}
        for index, event in enumerate(events):
            try:
                messages.append(self._message(event))
            except Exception as error:
                errors[index] = Refused(f"no message can be made of it: {type(error).__name__}: {error}")
            else:
                places.append(index)
        if messages:
            try:
                async with asyncio.timeout(self._timeout):
                    failures = await self._broker.publish(messages)
            except TimeoutError as error:
                raise EndpointDown(f"no confirmation within {self._timeout:g} s") from error
            errors.update({places[index]: failure for index, failure in failures.items()})
        if errors:
            raise BatchError(errors)

    def _message(self, event: Event) -> Message:
        key = self._key(event)
        headers = [self._content_type]
        if self._headers:
            headers += [(name, template(event).encode()) for name, template in self._headers]
        if event.replay:
            headers.append(_REPLAY)
        return Message(
            event.id,
            self._target_of(event),
            None if key is None else key.encode(),
            event.encode(self._encode),
            headers,
            event.operation == "delete",
        )

    def _target_of(self, event: Event) -> str:
        return _named(event.namespace) if self._by_namespace else self._target(event)


def _document_key(event: Event) -> str | None:
    if event.key is None:
        return None
    value = event.key.get("_id")
    return str(value) if value.__class__ is ObjectId else written(value)
