"""Work that a process must keep doing while it holds a relay's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mess.cancellation import cancel
from mess.errors import StateError
from mess.relay.stopping import Halted, Stopping
from mess.state.store import StateStore

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

    def raise_rather_than(self, error: BaseException | None) -> None:
        """Raise the failure, if there is one, in place of an error that may follow from it."""
        # A problem with the state shows in several places; the first report has the most details.
        if self.failure is not None and (error is None or isinstance(error, (Halted, StateError))):
            raise self.failure from error


async def keep_verifying(store: StateStore, interval: float) -> None:
    """Verify the store every `interval` seconds, forever. Raises StateError."""
    while True:
        await asyncio.sleep(interval)
        await store.verify()
