"""Time that passes as soon as nothing else is left to do, so that hours of pauses take no time at all."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")


class _Clock(selectors.DefaultSelector):
    """A selector that waits for nothing: where it would, it puts the clock on."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all wait for something that will never happen"
            # Never less than what a float of this size can tell apart.
            self.now += max(timeout, 1e-9)
        return ready


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, with `time.monotonic` and the event loop in a time of their own. Raises AssertionError when
    nothing can happen any more."""
    clock = _Clock()
    loop = asyncio.SelectorEventLoop(clock)
    with patch.object(time, "monotonic", lambda: clock.now), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
