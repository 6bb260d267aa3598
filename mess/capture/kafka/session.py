"""Until when a member of a consumer group may deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mess.capture.kafka.heartbeat import Heard
from mess.errors import SourceError
from mess.leadership import Leadership
from mess.telemetry.logging import get_logger

log = get_logger("mess.kafka")

_SHARE = 0.8
"""Of the session timeout, after which the group gives this member's partitions to others."""


class Session:
    """Extends a `leadership` while the group's coordinator is heard of.

    A member that was not for so long that the leadership has lapsed may no longer belong to the group, without knowing.
    It has to `prove` that it does, by a commit, which the coordinator accepts from members only.
    """

    def __init__(self, leadership: Leadership, timeout: float, prove: Callable[[], Awaitable[None]]) -> None:
        self.leadership = leadership
        self.timeout = timeout
        self.heard_at: float | None = None
        self._prove = prove
        self._proving: asyncio.Task[None] | None = None
        self._fenced = False

    def fence(self) -> None:
        """Let nothing be sent until `release`, and a proof. Called in any thread."""
        self._fenced = True
        self.leadership.until = 0.0

    def release(self) -> None:
        """Nothing is left of what the fence was for."""
        self._fenced = False

    def heard(self, heard: Heard) -> None:
        """Use a sample."""
        if heard.at is not None:
            self.heard_at = heard.at
        if heard.at is None or not heard.steady or self._fenced:
            return
        if not self.leadership.lapsed:
            self._extend(heard.at)
        elif self._proving is None or self._proving.done():
            self._proving = asyncio.create_task(self._regain(heard.at))

    def _extend(self, at: float) -> None:
        until = at + _SHARE * self.timeout
        if until > self.leadership.until and not self._fenced:
            self.leadership.extend(until)

    async def _regain(self, at: float) -> None:
        try:
            await self._prove()
        except SourceError as error:
            log.warning("nothing is delivered at present: the group does not know this member", error=str(error))
        else:
            self._extend(at)
