"""A source around another one."""

from __future__ import annotations

import asyncio

from mess.capture.source import Source
from mess.event import Event, Position


class WrappedSource:
    """Everything of a `Source` but `read`, as `stream` has it."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream

    @property
    def name(self) -> str:
        """See `Source`."""
        return self._stream.name

    @property
    def problem(self) -> str | None:
        """See `Source`."""
        return self._stream.problem

    @property
    def connected(self) -> asyncio.Event:
        """See `Source`."""
        return self._stream.connected

    @property
    def position(self) -> Position:
        """See `Source`."""
        return self._stream.position

    def position_after(self, event: Event) -> Position:
        """See `Source`."""
        return self._stream.position_after(event)

    async def close(self) -> None:
        """See `Source`."""
        await self._stream.close()
