"""What a broker says of messages one by one, gathered for all that were published together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mess.errors import DeliveryError, EndpointDown
from mess.steps.queue.broker import Message


def resolve(future: asyncio.Future[Any], value: Any = None) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


class Confirms:
    """The `messages` of one call of `Broker.publish`, by their index. For use in the event loop's own thread."""

    __slots__ = ("_failures", "_finished", "_open", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._open = set(range(len(messages)))
        self._failures: dict[int, DeliveryError] = {}
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(self, index: int, failure: DeliveryError | None = None) -> None:
        """The broker has confirmed a message, or it has failed."""
        if failure is not None:
            self._failures[index] = failure
        self._open.discard(index)
        if not self._open:
            resolve(self._finished)

    def fail(self, failure: DeliveryError) -> None:
        """No more will be heard of those that are not settled: the connection is lost, whatever their target."""
        if isinstance(failure, EndpointDown):
            failure.shared = True
        self._failures.update(dict.fromkeys(self._open, failure))
        self._open.clear()
        resolve(self._finished)

    async def all(self) -> Mapping[int, DeliveryError]:
        """Wait until all are settled; returns the failures."""
        await self._finished
        return self._failures
