"""The admin server of a process whose port another one may still have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from mess.admin.server import AdminServer, PortInUse
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")

_PATIENCE, _PAUSE = 10.0, 0.5  # seconds


class AdminServing:
    """Serves with `server`, if there is one, as soon as its port is free. `taken` is why that cannot begin yet."""

    def __init__(self, server: AdminServer | None) -> None:
        self._server = server
        self.taken: PortInUse | None = None

    async def begin(self) -> None:
        """Serve if the port is free. Raises ConfigError if it never will be."""
        await self._try()
        if self.taken is not None:
            log.warning("the admin server cannot start yet", error=str(self.taken))

    async def when_free(self) -> None:
        """Serve as soon as the port is free, however long that takes."""
        while self.taken is not None:
            await asyncio.sleep(_PAUSE)
            await self._try()

    async def soon(self, *, replaced: bool, pause: Callable[[float], Awaitable[None]]) -> None:
        """Serve now; if this process has `replaced` another, as soon as that has ended. Raises PortInUse if the port is
        not free by then, and whatever `pause` does."""
        deadline = time.monotonic() + _PATIENCE
        while self.taken is not None:
            if not replaced or time.monotonic() >= deadline:
                raise self.taken
            await self._try()
            if self.taken is not None:
                await pause(_PAUSE)

    async def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            await self._server.stop()

    async def _try(self) -> None:
        self.taken = None
        try:
            if self._server is not None:
                await self._server.start()
        except PortInUse as error:
            self.taken = error
