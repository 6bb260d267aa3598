"""What a broker says of messages one by one, gathered for all that were published together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mess.errors import DeliveryError
from mess.queues.broker import Message


def resolve(future: asyncio.Future[Any], value: Any = None) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


class Confirms:
    """The `messages` of one call of `Broker.publish`, by their index. For use in the event loop's own thread."""

    __slots__ = ("_failures", "_finished", "_left", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._left = len(messages)
        self._failures: dict[int, DeliveryError] = {}
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, failure: DeliveryError | None = None) -> None:
        """The broker has confirmed a message, or it has failed; called once for each."""
        if failure is not None:
            self._failures[index] = failure
        self._left -= 1
        if not self._left:
            resolve(self._finished)

    def fail(self, failure: DeliveryError) -> None:
        """No more will be heard of any of them."""
        if not self._finished.done():
            self._finished.set_exception(failure)

    async def all(self) -> Mapping[int, DeliveryError]:
        """Wait until all are settled. Returns the failures; raises what `fail` was told."""
        await self._finished
        return self._failures
