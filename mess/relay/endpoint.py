"""What is known of the sink behind a step, and which lane may try it while it is down."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from mess.config.model import Probe
from mess.errors import DeliveryError
from mess.relay.retry import asked_for, probe_pause
from mess.relay.stopping import Stopping


class Endpoint:
    """A step's sink, as all of its lanes have found it.

    While it is held, lanes wait in `turn`; after each pause the one that has waited longest goes first and tries, and
    when it succeeds all go on. `accepted` counts the events it has taken. `trouble` says what keeps it from its work,
    None while nothing does.
    """

    def __init__(self, probe: Probe, stopping: Stopping) -> None:
        self.accepted = 0
        self.trouble: str | None = None
        self.held = False
        self._probe = probe
        self._stopping = stopping
        self._since = 0.0
        self._firm_until = 0.0
        self._knocks_at = 0.0
        self._doubts = 0
        self._refused = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False  # a probe that no lane was there to make

    @property
    def suspect(self) -> bool:
        """Whether it has failed on several different events with no success between."""
        return self._doubts >= self._probe.suspect_after

    @property
    def refusing(self) -> bool:
        """Whether it has refused so many different events in a row that they cannot all be wrong."""
        return self._probe.refusing_after is not None and self._refused >= self._probe.refusing_after

    @property
    def firm(self) -> bool:
        """Whether it asked to be left alone, and that time is not over yet."""
        return time.monotonic() < self._firm_until

    def accept(self, events: int) -> None:
        """It has taken so many events."""
        self.accepted += events
        self._doubts = self._refused = 0
        if self.trouble is not None or self.held:
            self._release()

    def doubt(self) -> None:
        """It has failed ambiguously on events that it had not failed on before."""
        self._doubts += 1

    def refuse(self) -> None:
        """It has refused a different event."""
        self._refused += 1
        self.answer()

    def answer(self) -> None:
        """It has answered: whatever it said, it is there."""
        if not self.refusing:
            self._release()

    def complain(self, error: DeliveryError) -> None:
        """It may well be the trouble, though the lanes go on."""
        self.trouble = str(error)

    def hold(self, error: DeliveryError, *, probing: bool) -> None:
        """Let the lanes wait because of `error`; `probing` tells that it was a probe's."""
        now = time.monotonic()
        self.trouble = str(error)
        if not self.held:
            self.held, self._since, probing = True, now, True
        # What others still have under way may succeed, or fail and say otherwise, but it asked to be left alone.
        self._firm_until = max(self._firm_until, now + asked_for(self._probe, error))
        if probing:
            self._schedule(probe_pause(self._probe, now - self._since, error))
        elif self._due or (self._timer is not None and self._knocks_at < self._firm_until):
            self._due = False
            self._schedule(0.0)

    async def turn(self) -> bool:
        """Wait while it is held; returns whether the caller is to probe it. Raises Halted when the relay stops."""
        while self.held:
            if self._due:
                self._due = False
                return True
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                if await self._stopping.unless(_result(future)):
                    return self.held
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)
        return False

    def probed(self) -> None:
        """A probe is over; whatever came of it, another lane gets its turn while it is still held."""
        if self.held and self._timer is None and not self._due:
            self._schedule(self._probe.first)

    def _schedule(self, pause: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        self._knocks_at = max(now + pause, self._firm_until)
        self._timer = asyncio.get_running_loop().call_later(self._knocks_at - now, self._next)

    def _next(self) -> None:
        self._timer = None
        self._due = not self._wake(knock=True)

    def _wake(self, *, knock: bool) -> bool:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(knock)
                return True
        return False

    def _release(self) -> None:
        if self.held and self.firm:
            if self._timer is None:
                self._schedule(0.0)
            return
        self.held = self._due = False
        self.trouble = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._wake(knock=False):
            pass


async def _result(future: asyncio.Future[bool]) -> bool:
    return await future
