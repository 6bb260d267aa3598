"""Work that a process must keep doing while it holds a relay's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mess.cancellation import cancel
from mess.relay.stopping import Stopping

Work = Callable[[], Coroutine[Any, Any, None]]


class Duties:
    """Tasks that run until `end`. The first error of one is the `failure`, and sets `stopping`."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: Exception | None = None

    def begin(self, *works: Work) -> None:
        """Run these."""
        self._tasks = [asyncio.create_task(self._run(work)) for work in works]

    async def end(self) -> None:
        """Cancel them."""
        await cancel(*self._tasks)

    async def _run(self, work: Work) -> None:
        try:
            await work()
        except Exception as error:
            self.fail(error)
            self._stopping.set()

    def fail(self, error: Exception) -> None:
        """Let this be the failure if there is none yet."""
        self.failure = self.failure or error
