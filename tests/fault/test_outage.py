"""MongoDB is away for longer than a checkpoint is tried for, a minute: here the engine is by itself, to save time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mess.errors import StateError, Superseded
from mess.relay.engine import Engine
from mess.relay.stopping import Stopping


class FailingCheckpointer:
    """Cannot record anything; notes how often it was asked to run."""

    def __init__(self, error: StateError) -> None:
        self.runs = 0
        self._error = error

    async def run(self) -> None:
        self.runs += 1
        await asyncio.sleep(0.01)
        raise self._error

    async def save(self) -> None:
        return


class Streams:
    """One stream that is connected, or not."""

    lanes = ()
    runners = ()

    def __init__(self, problem: str | None) -> None:
        self.disconnected = problem is not None

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None: ...


async def run(problem: str | None, checkpointer: FailingCheckpointer, stopping: Stopping) -> None:
    """Run an engine with one stream."""
    await Engine({}, cast(Any, checkpointer), stopping, grace=lambda: 1.0).run(Streams(problem))


async def test_a_checkpoint_that_fails_while_mongodb_is_away_is_waited_for() -> None:
    """The streams wait for MongoDB for ever; so does the checkpointer."""
    stopping, checkpointer = Stopping(), FailingCheckpointer(StateError("cannot store the checkpoints"))
    running = asyncio.create_task(run("connection refused", checkpointer, stopping))
    async with asyncio.timeout(5):
        while checkpointer.runs < 3:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        stopping.set()
        await running


@pytest.mark.parametrize(
    ("problem", "error"), [(None, StateError("not authorized")), ("connection refused", Superseded("by another"))]
)
async def test_a_checkpoint_that_cannot_be_recorded_ends_a_relay_that_goes_on_reading(
    problem: str | None, error: StateError
) -> None:
    """Its streams are connected, or another process has taken over: progress will never be recorded."""
    with pytest.raises(type(error)):
        async with asyncio.timeout(5):
            await run(problem, FailingCheckpointer(error), Stopping())
