"""The interface that brokers implement: what the queue step passes to them, and what they do with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from mess.errors import DeliveryError
from mess.leadership import ALWAYS, Leadership
from mess.options.base import Options
from mess.options.tls import Tls


class Message(NamedTuple):
    """An event to be published.

    `id` is the event's id, for the broker's own deduplication field or a header. `target` is the topic, stream, queue
    or subject. `key` determines partitioning and order; it is None for events that concern no document. `body` is the
    payload. `deleted` is whether the event is a document's deletion. `headers` are in order.
    """

    id: str
    target: str
    key: bytes | None
    body: bytes
    headers: Sequence[tuple[str, bytes]]
    deleted: bool


class BrokerOptions(Options):
    """Base class of a broker's own options: those that no other broker shares. Its docstring and its field descriptions
    are their documentation."""

    def unfit_header(self, name: str) -> str | None:
        """Why no message can have a header of this name, with the remedy; None if it can."""
        if any(character in name for character in "\r\n\0"):
            return "a header name cannot contain line breaks or null characters"
        return None if name else "a header needs a name"

    def unverified(self) -> Iterable[str]:
        """The paths of those options that turn certificate verification off."""
        return ()


class Surroundings(NamedTuple):
    """What a broker's client may need besides its url and its options.

    Relative paths start at `directory`. `timeout` is how many seconds a publication may take.
    """

    directory: Path
    timeout: float
    tls: Tls


class Broker(ABC):
    """A connection to a broker, shared by all lanes of a step.

    It never retries: it reports failures, and the pipeline decides. A message counts as published only once the broker
    has confirmed it.
    """

    schemes: ClassVar[tuple[str, ...]]
    """The url schemes of this broker."""
    address: ClassVar[str] = "host"
    """What may follow the scheme and `://`, as an example for the docs."""
    options: ClassVar[type[BrokerOptions]] = BrokerOptions
    """The class of its own options."""
    lanes: ClassVar[int] = 4
    """The number of lanes that suits it best: fewer lanes fill their mini-batches better."""
    keeps_order: ClassVar[bool] = False
    """Whether it guarantees that, of messages published together, none is confirmed after one that failed."""
    leadership: Leadership = ALWAYS
    """Whether this process may publish; set before `open`. The caller looks before each `publish`, and cancels it when
    the lease lapses. `publish` calls `check` once more before it sends, if it had to wait for a connection."""

    @abstractmethod
    def __init__(self, url: str, options: Any, around: Surroundings) -> None:
        """Does not connect yet. Raises ConfigError if the client is not installed, or rejects the url or the
        options."""

    @abstractmethod
    async def open(self) -> None:
        """Get ready. An unreachable broker is not an error yet: connections are made on demand."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """Send the messages, pipelined and in order, and wait until each is confirmed or has failed.

        Returns the failures by message index; raises DeliveryError if it is the same for all.

        Unless `keeps_order`, the messages, including those that other lanes publish at the same time, must not depend
        on each other's order, which a retry might reverse. The caller cancels calls that take too long: what the client
        still holds of these messages must not be sent later.
        """

    @abstractmethod
    async def check(self, targets: Sequence[str]) -> str:
        """Connect, log in, and look for `targets` (those that are known beforehand), without publishing anything.

        Returns the result in a few words. Raises DeliveryError with the remedy in its message.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""
