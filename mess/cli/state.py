"""Access to a relay's state, for commands that read or change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from mess.cli.connecting import connecting

if TYPE_CHECKING:
    from mess.config.load import Loaded
    from mess.state.store import StateStore

T = TypeVar("T")


async def with_store(loaded: Loaded, work: Callable[[StateStore], Awaitable[T]], timeout: float | None = None) -> T:
    """Open the relay's state, run `work` with it, and close it. Waits for its MongoDB as described in `connecting`.

    Raises StateError, SourceUnavailable.
    """
    from mess.stores import store_for

    async with store_for(loaded.config, connecting(timeout)) as store:
        return await work(store)
