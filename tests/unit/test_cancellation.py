"""What a library makes of a cancellation does not keep a task from ending."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import AutoReconnect

from mess.cancellation import cancel, within
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


class Deaf:
    """Work that loses its first cancellations, as `asyncio.wait_for` does before Python 3.12."""

    def __init__(self, losing: int) -> None:
        self.losing = losing
        self.ended = False

    async def run(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.losing -= 1
                if self.losing < 0:
                    self.ended = True
                    raise


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mess.cancellation._AGAIN", 0.01)


@pytest.mark.usefixtures("soon")
async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    deaf, hearing = Deaf(2), Deaf(0)
    tasks = [asyncio.create_task(each.run()) for each in (deaf, hearing)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel(*tasks)
    assert deaf.ended
    assert hearing.ended


async def test_what_a_cancelled_task_raises_is_dropped() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("while it ended")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await cancel(task)
    assert isinstance(task.exception(), ValueError)


@pytest.mark.usefixtures("soon")
async def test_work_that_takes_too_long_ends_even_if_it_loses_a_cancellation() -> None:
    deaf = Deaf(2)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await within(0.01, deaf.run())
    assert deaf.ended


async def test_work_in_time_gives_its_result_or_raises() -> None:
    async def answer(value: int) -> int:
        await asyncio.sleep(0)
        return 10 // value

    assert await within(5, answer(2)) == 5
    with pytest.raises(ZeroDivisionError):
        await within(5, answer(0))


async def test_who_waits_for_work_and_is_cancelled_cancels_the_work() -> None:
    deaf = Deaf(0)
    task = asyncio.create_task(within(60, deaf.run()))
    await asyncio.sleep(0.01)
    await cancel(task)
    assert task.cancelled()
    assert deaf.ended
