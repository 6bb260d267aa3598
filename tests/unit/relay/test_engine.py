"""The engine's start and end."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from mess.errors import StateError
from mess.relay.engine import Engine
from mess.relay.stopping import Stopping


class Source:
    problem = None

    async def close(self) -> None:
        pass


class Work:
    """A step runner, a stream runner, a pipeline and a checkpointer, all of which go on for ever."""

    def __init__(self) -> None:
        self.source = Source()
        self.steps = [self]
        self.blocked = None

    lanes = runners = ()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

    open = save = close


async def test_a_failure_at_the_very_start_leaves_no_coroutine_that_is_never_awaited(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """As when the first checkpoint cannot be stored: the error is the only thing to be seen."""
    stopping, work = Stopping(), cast(Any, Work())
    engine = Engine({"work": work}, work, stopping, grace=lambda: 1.0)
    stopping.fail(StateError("the first checkpoint is too large"))
    with pytest.raises(StateError, match="too large"):
        await engine.run(work)
    gc.collect()
    assert [str(each.message) for each in recwarn if "never awaited" in str(each.message)] == []
