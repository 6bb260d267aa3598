"""Cancellation that a library has turned into an error of its own."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if the current task has been asked to end.

    PyMongo may answer a cancellation that reaches it while it connects with an error, as if the server had failed. Who
    tries again what failed calls this first, or would go on for as long as it has patience.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
