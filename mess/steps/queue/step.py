"""The queue step: publishes events as messages to a broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mess.errors import BatchError, DeliveryError, EndpointDown, Refused
from mess.event import Document, Event, Namespace
from mess.formats.base import Envelope
from mess.formats.body import Shape
from mess.formats.envelope import Format
from mess.formats.template import WHOLE_DATABASE, Template, TemplateText
from mess.leadership import LAPSED
from mess.options import insecure
from mess.options.secret import Secret, names_a_secret, of_broker_url
from mess.options.sections import Sections
from mess.options.tls import TlsOptions
from mess.options.values import Duration
from mess.steps.base import Context, Preview, Reading, Sink, StepConfig, readings
from mess.steps.queue.broker import Broker, BrokerOptions, Message, Surroundings
from mess.steps.queue.brokers import BROKERS, broker_of, unknown, urls
from mess.steps.queue.lease_end import LeaseEnd
from mess.telemetry.attempts import current

_BY_NAMESPACE = "{db}.{collection}"
# Use three different replacements, so that keys that differ only in these characters stay different.
_PICTURES = str.maketrans(
    {"\0": "\N{SYMBOL FOR NULL}", "\n": "\N{SYMBOL FOR LINE FEED}", "\r": "\N{SYMBOL FOR CARRIAGE RETURN}"}
)
_EPOCH = "mess-epoch"
_REPLAY = ("mess-replay", b"true")
_DOCUMENT: dict[Document, tuple[str, bytes]] = {
    "exact": ("mess-document", b"exact"),
    "lookup": ("mess-document", b"lookup"),
    "missing": ("mess-document", b"missing"),
}
_ESCAPED = "In a user name or password, write @, :, /, ? and # as %40, %3A, %2F, %3F and %23"


def _broker_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        scheme = parts.scheme
        # Clusters have several hosts, separated by commas.
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
        # A name that IDNA cannot encode could never be resolved.
        named = all((host.hostname or "").encode("idna") for host in hosts) and all(host.port != 0 for host in hosts)
    except ValueError as error:
        scheme = value.partition("://")[0] if "://" in value else "redis"
        raise ValueError(f"not a URL; write it like {scheme}://host:port. {_ESCAPED}") from error
    if broker_of(value) is None:
        raise ValueError(unknown(scheme))
    if value.count("://") > 1:
        raise ValueError(f"several URLs; write one, with its hosts separated by commas: {scheme}://host,host2")
    if "@" in value.partition("://")[2].removeprefix(parts.netloc):
        raise ValueError(f"there is an @ in the wrong place. {_ESCAPED}")
    if not named:
        raise ValueError(f"has no host; write it like {scheme}://host. {_ESCAPED}")
    return value


@Sections(
    BROKERS,
    "url",
    selected=broker_of,
    options=lambda broker: broker.options,
    about="Options for {} only.",
)
class QueueConfig(StepConfig, TlsOptions, Format):
    """Publishes each event to a broker, and passes it on unchanged when the broker has confirmed it.

    The url's scheme selects the broker. If the broker is down, events wait until it is back. What it will never accept
    (too large, denied, no such topic) is refused, and `on_failure` decides. `target`, `key` and `headers` are
    templates: `{…}` stands for a value of the event.
    """

    name: ClassVar[str] = "queue"

    url: Annotated[str, AfterValidator(_broker_url), Field(repr=False), Secret(of_broker_url)] = Field(
        description=f"The broker's address; a second scheme is the one with TLS: {urls()}. It may contain user and "
        "password, which are never shown."
    )
    target: TemplateText = _BY_NAMESPACE
    """What to publish to, as a template: a topic's, queue's or stream's name, a routing key, or a subject. An event
    that lacks a value is refused, unless the placeholder has a default: `{fullDocument.region|eu}`."""
    key: TemplateText | None = None
    """The key that the broker partitions and orders by, as a template. Default: the document's `_id`, encoded by the
    format."""
    headers: dict[str, TemplateText] = Field(default_factory=dict)
    """Additional headers, whose values are templates."""
    timeout: Duration = Field(30.0, gt=0)
    """How long the broker may take to confirm the messages of one publication."""

    @model_validator(mode="after")
    def _fits_the_broker(self) -> Self:
        for section in BROKERS.names():
            if section != self._section and getattr(self, section) is not None:
                raise ValueError(f"{section} is for another broker than the url's; its own section is {self._section}")
        for name in self.headers:
            if (unfit := self._options.unfit_header(name)) is not None:
                raise ValueError(unfit)
            if name.lower() == _EPOCH:
                raise ValueError(f"{name} cannot be set: it says which process of the relay publishes a message")
        return self

    @property
    def _section(self) -> str:
        return broker_of(self.url) or ""

    @property
    def _options(self) -> BrokerOptions:
        return getattr(self, self._section, None) or BROKERS.find(self._section).options()

    def describe(self) -> str:
        """The step, the broker's host and the target."""
        parts = urlsplit(self.url)
        return f"queue {parts.scheme}://{parts.netloc.rpartition('@')[2]} {self.target}"

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        yield from readings(("target",), self.target, "refused")
        if self.key is not None:
            yield from readings(("key",), self.key, "empty")
        for name, text in self.headers.items():
            yield from readings(("headers", name), text, "empty")

    def body_after(self, body: Shape | None) -> Shape | None:
        """Events pass through unchanged."""
        return body

    def warnings(self) -> Iterator[tuple[str, str]]:
        """See `StepConfig.warnings`."""
        yield from self.tls_warnings()
        for parameter in insecure.unverified(self.url):
            yield "url", f"{parameter}: {insecure.UNVERIFIED}"
        for name in self._options.unverified():
            yield f"{self._section}.{name}", insecure.UNVERIFIED

    def build(self, context: Context) -> Queue:
        """Build the step. Raises ConfigError if the broker's client is not installed, or if a file cannot be used."""
        made = self.tls(context.directory)
        kind = BROKERS.find(self._section)
        broker = kind(self.url, self._options, Surroundings(context.directory, self.timeout, made))
        return Queue(self, self.envelope(context.relay), broker)


class Queue(Sink):
    """See `QueueConfig`."""

    def __init__(self, config: QueueConfig, envelope: Envelope, broker: Broker) -> None:
        self.lanes = broker.lanes
        self.carries = envelope.carries
        self._broker = broker
        self._timeout = config.timeout
        self._encode = envelope.encode
        self._varying = envelope.varying
        self._target = Template(config.target, required="target")
        # Most targets depend only on the namespace, and there are few namespaces.
        self._by_namespace = config.target == _BY_NAMESPACE
        self.destination = None if self._target.constant else self._destination
        self._key: Callable[[Event], str | None] = envelope.key if config.key is None else Template(config.key)
        self._content_type = ("content-type", envelope.content_type.encode())
        self._headers = [(name, Template(text)) for name, text in config.headers.items()]
        self._server = _server(config.url)
        self._lease_end = LeaseEnd(self.leadership)

    async def open(self) -> None:
        """Get the broker's client ready."""
        self._broker.leadership = self.leadership
        self._lease_end = LeaseEnd(self.leadership)
        await self._broker.open()

    async def check(self) -> str:
        """Connect and log in, without publishing anything."""
        targets = [self._target.text] if self._target.constant else []
        try:
            async with asyncio.timeout(self._timeout):
                return await self._broker.check(targets)
        except TimeoutError as error:
            raise EndpointDown(f"no answer within {self._timeout:g} s") from error

    async def close(self) -> None:
        """Close the connection."""
        self._lease_end.close()
        await self._broker.close()

    def preview(self, event: Event) -> Preview:
        """See `Sink`."""
        try:
            message = self._message(event, self._common())
        except Exception as error:
            raise _unsendable(error) from error
        address = {"target": message.target}
        if message.key is not None:
            address["key"] = message.key.decode()
        headers = {name: text.decode() for name, text in message.headers if not names_a_secret(name)}
        return Preview(message.body, address, headers=headers, varying=self._varying)

    def span_attributes(self, events: Sequence[Event]) -> dict[str, str | int]:
        """See `Sink`. The destination is absent if there are several."""
        targets = {self._destination(event) for event in events}
        found = {**self._server, "messaging.operation.name": "send", "messaging.operation.type": "send"}
        return {**found, "messaging.destination.name": targets.pop()} if len(targets) == 1 else found

    async def deliver(self, events: Sequence[Event]) -> None:
        """Publish the events in order; return when the broker has confirmed them all."""
        messages: dict[int, Message] = {}
        errors: dict[int, Exception] = {}
        common = self._common()
        for index, event in enumerate(events):
            try:
                messages[index] = self._message(event, common)
            except Exception as error:
                errors[index] = _unsendable(error)
        if (attempt := current.get()) is not None:
            more = [(name, text.encode()) for name, text in attempt.headers.items()]
            messages = {
                index: message._replace(headers=[*message.headers, *more]) for index, message in messages.items()
            }
        untried: list[int] = []
        if self._broker.keeps_order:
            errors |= await self._publish(messages)
        else:
            untried = await self._in_turns(events, messages, errors)
        causes = list(errors.values())
        if len(causes) == len(events) and all(cause is causes[0] for cause in causes):
            raise causes[0]
        if errors:
            raise BatchError(errors, untried=[events[index] for index in sorted(untried)])

    async def _in_turns(
        self, events: Sequence[Event], messages: Mapping[int, Message], errors: dict[int, Exception]
    ) -> list[int]:
        """Publish one message per ordering key at a time; return the events not tried because an earlier one failed.

        Adds to `errors`.
        """
        untried: list[int] = []
        stuck: set[int] = set()
        for turn in _turns(events, messages):
            ready = {index: messages[index] for index in turn if events[index].ordering_key not in stuck}
            untried += [index for index in turn if index not in ready]
            failures = await self._publish(ready)
            errors |= failures
            stuck.update(
                events[index].ordering_key for index, error in failures.items() if not isinstance(error, Refused)
            )
        return untried

    async def _publish(self, messages: Mapping[int, Message]) -> Mapping[int, DeliveryError]:
        """Publish messages and return the failures, by message number."""
        if not messages:
            return {}
        places = list(messages)
        limit = asyncio.timeout(self._timeout)
        try:
            self.leadership.check()  # there may be several publications in one call
            async with limit:
                self._lease_end.add(limit)
                failures = await self._broker.publish(list(messages.values()))
        except TimeoutError:
            why = f"given up: {LAPSED}" if self.leadership.lapsed else f"no confirmation within {self._timeout:g} s"
            return dict.fromkeys(places, EndpointDown(why, shared=True))
        except DeliveryError as error:
            if isinstance(error, EndpointDown):
                error.shared = True  # it was raised for all targets
            return dict.fromkeys(places, error)
        finally:
            self._lease_end.discard(limit)
        return {places[index]: failure for index, failure in failures.items()}

    def _common(self) -> Sequence[tuple[str, bytes]]:
        """The headers of all messages."""
        epoch = self.leadership.epoch
        return [self._content_type, (_EPOCH, b"%d" % epoch)] if epoch else [self._content_type]

    def _message(self, event: Event, common: Sequence[tuple[str, bytes]]) -> Message:
        key = self._key(event)
        headers = [*common]
        if self._headers:
            headers += [(name, _one_line(template(event)).encode()) for name, template in self._headers]
        if document := event.document:
            headers.append(_DOCUMENT[document])
        if event.backfill:
            headers.append(("mess-backfill", event.backfill.encode()))
        if event.replay:
            headers.append(_REPLAY)
        return Message(
            id=event.id,
            target=self._target_of(event),
            key=None if key is None else _one_line(key).encode(),
            body=event.encode(self._encode),
            headers=headers,
            deleted=event.operation == "delete",
        )

    def _target_of(self, event: Event) -> str:
        return _target_of(event.namespace) if self._by_namespace else self._target(event)

    def _destination(self, event: Event) -> str:
        try:
            return self._target_of(event)
        except Exception:  # `deliver` refuses the event and gives the reason
            return ""


def _server(url: str) -> dict[str, str | int]:
    """A broker in OpenTelemetry's terms; of a cluster, its first host."""
    first = urlsplit(f"//{urlsplit(url).netloc.rpartition('@')[2].partition(',')[0]}")
    found: dict[str, str | int] = {"messaging.system": broker_of(url) or "", "server.address": first.hostname or ""}
    return {**found, "server.port": first.port} if first.port else found


def _unsendable(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    return Refused(f"it cannot be encoded as a message: {type(error).__name__}: {error}", local=True)


def _one_line(text: str) -> str:
    """The text without line breaks, which end a header in some protocols and could start another one."""
    return text if text.isprintable() else text.translate(_PICTURES)


@lru_cache(maxsize=10_000)
def _target_of(namespace: Namespace) -> str:
    """The result of `_BY_NAMESPACE`."""
    return f"{namespace.db}.{namespace.coll or WHOLE_DATABASE}"


def _turns(events: Sequence[Event], indexes: Collection[int]) -> list[list[int]]:
    """Events, by index, in rounds that never contain two events that must keep their order: the first of each ordering
    key, then the second of each, and so on."""
    lines = [events[index].ordering_key for index in indexes]
    if len(set(lines)) == len(lines):
        return [list(indexes)]
    turns: list[list[int]] = []
    seen: Counter[int] = Counter()
    for index, line in zip(indexes, lines, strict=True):
        if seen[line] == len(turns):
            turns.append([])
        turns[seen[line]].append(index)
        seen[line] += 1
    return turns
