"""Works around cancellations that libraries swallow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_AGAIN = 1.0  # seconds

T = TypeVar("T")


def raise_if_cancelled() -> None:
    """Raise CancelledError if the current task has been cancelled.

    If a cancellation arrives while PyMongo connects, PyMongo may raise an error as if the server had failed. Code that
    retries must call this first, or it would keep retrying until it gives up.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and return when all have ended; their exceptions are dropped.

    A task that does not end is cancelled again every second: before Python 3.12, `asyncio.wait_for`, with which PyMongo
    waits for a server, loses a cancellation that arrives just as its own wait ends (python/cpython#86296).
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises TimeoutError, with the work cancelled, if it takes longer.

    Unlike `asyncio.timeout`, it works even if the first cancellation is lost (see `cancel`).
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        await cancel(task)
