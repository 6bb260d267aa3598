"""Sinks for generated events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mess.errors import DeliveryError
from mess.steps.queue.broker import Broker, Message


class Recorded(Broker):
    """A broker that takes everything and keeps it."""

    schemes = ()

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def open(self) -> None: ...

    async def publish(self, messages: Sequence[Message]) -> Mapping[int, DeliveryError]:
        self.messages += messages
        return {}

    async def check(self, targets: Sequence[str]) -> str:
        return ""

    async def close(self) -> None: ...
