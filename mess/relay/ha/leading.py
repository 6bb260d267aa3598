"""Lets work wait while this process may not deliver, since another may have taken over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mess.leadership import Leadership
from mess.relay.stopping import Stopping

Leading = Callable[[], Awaitable[None]]
"""`leading`, of a relay."""


async def leading(leadership: Leadership, stopping: Stopping) -> None:
    """Return as soon as this process may deliver, usually at once. Raises Halted if the relay stops meanwhile."""
    while leadership.lapsed:
        await stopping.unless(leadership.regained())
