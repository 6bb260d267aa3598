"""Collects a broker's confirmations of individual messages for a batch that was published together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mess.errors import DeliveryError, EndpointDown
from mess.steps.queue.broker import Message


def resolve(future: asyncio.Future[Any], value: Any = None) -> None:
    """Set a future's result, unless it is already done or cancelled."""
    if not future.done():
        future.set_result(value)


class Confirms:
    """The confirmations of one call of `Broker.publish`, by message index. Use it only in the event loop's thread."""

    __slots__ = ("_failures", "_finished", "_open", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._open = set(range(len(messages)))
        self._failures: dict[int, DeliveryError] = {}
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(self, index: int, failure: DeliveryError | None = None) -> None:
        """Record that a message was confirmed, or that it failed."""
        if failure is not None:
            self._failures[index] = failure
        self._open.discard(index)
        if not self._open:
            resolve(self._finished)

    def fail(self, failure: DeliveryError) -> None:
        """Fail all messages that are not settled, whatever their target: the connection is lost."""
        if isinstance(failure, EndpointDown):
            failure.shared = True
        self._failures.update(dict.fromkeys(self._open, failure))
        self._open.clear()
        resolve(self._finished)

    async def all(self) -> Mapping[int, DeliveryError]:
        """Wait until all are settled; return the failures."""
        await self._finished
        return self._failures
