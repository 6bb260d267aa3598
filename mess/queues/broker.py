"""The port behind which brokers are: what the queue step hands over, and what a broker does with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from mess.errors import DeliveryError


class Message(NamedTuple):
    """An event on its way to a broker.

    `id` is the event's, for the broker's own field for duplicates, or a header of its own. `target` is the topic,
    stream, queue or subject. `key` is what the broker partitions and orders by, None for events of no document. `body`
    is what is sent; `deleted` tells that the event was a document's deletion. `headers` are in order.
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


class Broker(ABC):
    """A connection to a broker, used by all lanes of a step at a time.

    It never retries by itself: a failure is told, and the pipeline decides. Only a publication that the broker has
    confirmed is done.
    """

    lanes: ClassVar[int] = 4
    """How many lanes serve it best: fewer lanes fill their mini-batches better."""

    @abstractmethod
    async def open(self) -> None:
        """Get ready. A broker that is not there is no error yet: it is connected to when it is needed."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        """Send the messages, pipelined and in order, and wait until each is confirmed or has failed.

        Returns the failures by the messages' index; raises DeliveryError when it is the same for all. Of messages with
        one key, none may be confirmed that comes behind a failed one, unless that one was refused: a retry would
        invert them. The caller cancels what takes too long.
        """

    @abstractmethod
    async def check(self, targets: Sequence[str]) -> str:
        """Connect, log in, and look for `targets` (those that are known beforehand), without publishing anything.

        Returns what was found in a few words. Raises DeliveryError with the mend in its message.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection."""
