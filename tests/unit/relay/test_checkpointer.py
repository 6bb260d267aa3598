"""Progress that cannot be stored is known at once, not only when the store gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from mess.capture.tokens import position_after
from mess.errors import StateError
from mess.leadership import ALWAYS, Leadership, now
from mess.relay.checkpointer import Checkpointer, Progress
from mess.relay.window import Window
from mess.state.backfills import BackfillProgress
from tests import clock
from tests.unit.fakes import make_events


class Store:
    """Stores checkpoints as `answer` does."""

    def __init__(self, answer: Callable[[], Awaitable[None]]) -> None:
        self.answer = answer

    async def save(self, checkpoints: Any, backfills: Any) -> None:
        await self.answer()


class NoBackfills:
    """None is running."""

    def moved(self) -> dict[str, BackfillProgress]:
        return {}

    def stored(self, progress: Any) -> None:
        assert not progress


async def moved(store: Store, leadership: Leadership = ALWAYS) -> Checkpointer:
    """A checkpointer with something to store."""
    window = Window(10, 10**6, position_after)
    events = make_events(1)
    await window.admit(events)
    window.done(events)
    progress = Progress("shop", "plan", window)
    return Checkpointer(
        cast(Any, store), [progress], NoBackfills(), interval=1.0, idle_interval=30.0, leadership=leadership
    )


def test_a_write_that_is_not_confirmed_within_an_interval_is_a_problem_until_it_is() -> None:
    """`/readyz` turns 503 as soon as a checkpoint cannot be stored, though the store tries again for a minute."""

    async def work() -> None:
        checkpointer = await moved(Store(lambda: asyncio.sleep(40)))
        saving = asyncio.create_task(checkpointer.save())
        await asyncio.sleep(0.5)
        assert checkpointer.problem is None
        await asyncio.sleep(1.0)
        assert checkpointer.problem is not None
        assert "could not be stored for" in checkpointer.problem
        await saving
        assert checkpointer.problem is None

    clock.run(work())


async def test_a_failure_is_a_problem_until_a_checkpoint_is_stored() -> None:
    async def fail() -> None:
        raise StateError("cannot store the checkpoints: disk full")

    store = Store(fail)
    checkpointer = await moved(store)
    with pytest.raises(StateError):
        await checkpointer.save()
    assert checkpointer.problem == "cannot store the checkpoints: disk full"
    store.answer = lambda: asyncio.sleep(0)
    await checkpointer.save()
    assert checkpointer.problem is None


async def test_nothing_is_stored_while_another_process_may_be_active() -> None:
    """The store takes no position of a process that was replaced, but it would take gaps."""
    stored: list[float] = []

    async def answer() -> None:
        stored.append(now())

    leadership = Leadership(1, now() - 1)
    checkpointer = await moved(Store(answer), leadership)
    await checkpointer.save()
    assert stored == []
    assert "lease" in str(checkpointer.problem)
    leadership.extend(now() + 60)
    await checkpointer.save()
    assert len(stored) == 1
    assert checkpointer.problem is None
