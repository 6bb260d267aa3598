"""The port behind which brokers are: what the queue step hands over, and what a broker does with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from mess.errors import DeliveryError
from mess.options.tls import Tls


class Message(NamedTuple):
    """An event on its way to a broker.

    `id` is the event's, for the broker's own field for duplicates, or a header of its own. `target` is the topic,
    stream, queue or subject. `key` is what the broker partitions and orders by, None for events of no document. `body`
    is what is sent; `deleted` says whether the event was a document's deletion. `headers` are in order.
    """

    id: str
    target: str
    key: bytes | None
    body: bytes
    headers: Sequence[tuple[str, bytes]]
    deleted: bool


class BrokerOptions(BaseModel):
    """Base of a broker's own options, those whose concept no other broker shares. Its docstring and its fields'
    descriptions are their documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def unfit_header(self, name: str) -> str | None:
        """Why no message can have a header of this name, and the remedy; None when it can."""
        if any(character in name for character in "\r\n\0"):
            return "a header's name holds no line breaks and null characters"
        return None if name else "a header needs a name"

    def unverified(self) -> Iterable[str]:
        """The paths of options, among these, that turn the verification of certificates off."""
        return ()


class Surroundings(NamedTuple):
    """What a broker's client may need besides its url and its own options.

    Relative paths start at `directory`. `timeout` is how many seconds a publication may take.
    """

    directory: Path
    timeout: float
    tls: Tls


class Broker(ABC):
    """A connection to a broker, used by all lanes of a step at a time.

    It never retries by itself: a failure is told, and the pipeline decides. Only a publication that the broker has
    confirmed is done.
    """

    schemes: ClassVar[tuple[str, ...]]
    """What its urls begin with."""
    options: ClassVar[type[BrokerOptions]]
    """Its own options."""
    lanes: ClassVar[int] = 4
    """How many lanes serve it best: fewer lanes fill their mini-batches better."""
    keeps_order: ClassVar[bool] = False
    """Whether it makes sure by itself that of messages published together none is confirmed behind one that failed."""

    @abstractmethod
    def __init__(self, url: str, options: Any, around: Surroundings) -> None:
        """Connects to nothing. Raises ConfigError when the client is not installed, or does not accept the url or the
        options."""

    @abstractmethod
    async def open(self) -> None:
        """Get ready. A broker that is not there is no error yet: it is connected to when it is needed."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """Send the messages, pipelined and in order, and wait until each is confirmed or has failed.

        Returns the failures by the messages' index; raises DeliveryError when it is the same for all. Unless
        `keeps_order`, no two of the messages, nor any that another lane publishes at the same time, have to keep their
        order: else a retry might invert them. The caller cancels what takes too long.
        """

    @abstractmethod
    async def check(self, targets: Sequence[str]) -> str:
        """Connect, log in, and look for `targets` (those that are known beforehand), without publishing anything.

        Returns what was found in a few words. Raises DeliveryError with the remedy in its message.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection."""
