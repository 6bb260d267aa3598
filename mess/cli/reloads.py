"""Reloads the config of the relay in this process whenever it is asked to, or when its files change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mess.app import Relay


class Reloads:
    """Reloads a relay's config, one time after another; requests that arrive meanwhile are one more."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Reload as soon as possible: when the relay has started, and when the reload under way is over."""
        from mess.telemetry.logging import get_logger

        if self._relay.starting is not None and not self._relay.reloads_as_standby:
            get_logger("mess.relay").info("the config will be reloaded as soon as the relay runs")
        self._wanted.set()

    async def run(self) -> None:
        """Follow the requests, forever."""
        while True:
            await self._wanted.wait()
            if not self._relay.reloads_as_standby:
                await self._relay.started()
            self._wanted.clear()
            await self._relay.reload()

    async def watch(self) -> None:
        """Ask whenever the config, or a file that it includes, has changed; forever."""
        from mess.config.watching import FileWatch

        watch = FileWatch(lambda: self._relay.files)
        while True:
            await watch.changed()
            self.ask()
