"""Waiting for what a test expects, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE = 20.0
"""Seconds that anything may take where nothing else is said."""


async def until(
    condition: Callable[[], Any],
    what: str | Callable[[], str],
    timeout: float = PATIENCE,
    *,
    wake: asyncio.Event | None = None,
) -> Any:
    """What `condition()` gives, as soon as it is true; looked at every 10 ms or, with `wake`, whenever that is set.

    Raises AssertionError, which says `what` was waited for, when it is not in time.
    """
    try:
        async with asyncio.timeout(timeout):
            while not (found := condition()):
                if wake is None:
                    await asyncio.sleep(0.01)
                else:
                    wake.clear()
                    await wake.wait()
            return found
    except TimeoutError:
        raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what}") from None
