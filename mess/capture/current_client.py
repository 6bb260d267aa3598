"""A client that can be replaced while others use it, as when the password changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from mess.cancellation import cancel
from mess.capture.client import close, connect

_CLOSE_AFTER = 30.0
"""How many seconds a replaced client stays open for what it was asked."""


class CurrentClient:
    """Stands for a client of `mess.capture.client.connect`. Whatever is asked of it, or of the databases and
    collections that it returns, is asked of the `current` one.

    Raises ConfigError for a url that the driver cannot use and for a driver that is not installed.
    """

    def __init__(
        self,
        url: str,
        driver: str,
        *,
        sticky: bool = False,
        patience: float | None = None,
        option: str = "mongodb.url",
    ) -> None:
        self._connect: Callable[[str], Any] = partial(
            connect, driver=driver, sticky=sticky, patience=patience, option=option
        )
        self.current = self._connect(url)
        self._closing: list[asyncio.Task[None]] = []

    def another(self, url: str) -> Any:
        """A client with the same options for another url. Raises ConfigError."""
        return self._connect(url)

    def replace(self, client: Any) -> None:
        """Use this client from now on."""
        former, self.current = self.current, client
        self._closing = [task for task in self._closing if not task.done()]
        self._closing.append(asyncio.create_task(_close_later(former)))

    def get_database(self, name: str, **options: Any) -> Any:
        """A database of the current client, now and later."""
        return _Handle(lambda: self.current.get_database(name, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)

    async def close(self) -> None:
        """Close the client, and those that it has replaced."""
        await cancel(*self._closing)
        await close(self.current)


async def _close_later(client: Any) -> None:
    try:
        await asyncio.sleep(_CLOSE_AFTER)
    finally:
        await close(client)


class _Handle:
    """A database or a collection of the current client."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def get_collection(self, name: str, **options: Any) -> Any:
        return _Handle(lambda: self._find().get_collection(name, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)
