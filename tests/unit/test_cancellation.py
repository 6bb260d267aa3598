"""What a library makes of a cancellation does not keep a task from ending."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import AutoReconnect

from mess.state.failover import persist


@pytest.mark.parametrize("timed", [False, True])
async def test_an_attempt_that_was_cancelled_and_says_something_else_is_not_made_again(timed: bool) -> None:
    """Or a stop would take as long as the state's patience."""
    attempts = 0
    waiting = asyncio.Event()

    async def connect() -> None:
        nonlocal attempts
        attempts += 1
        waiting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise AutoReconnect("the connection was closed") from None

    async def work() -> None:
        if timed:
            async with asyncio.timeout(0.05):
                await persist("write state", connect, 60)
        await persist("write state", connect, 60)

    task = asyncio.create_task(work())
    await waiting.wait()
    if not timed:
        task.cancel()
    with pytest.raises(TimeoutError if timed else asyncio.CancelledError):
        await task
    assert attempts == 1
