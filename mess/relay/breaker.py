"""A circuit breaker: whether a sink, or one of its destinations, is down, and who may probe it meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Literal

from mess.config.model import Probe
from mess.errors import Ambiguous, DeliveryError, EndpointDown
from mess.relay.probe_pacer import ProbePacer
from mess.relay.retry import asked_for, probe_pause
from mess.relay.stopping import Stopping

Admit = Callable[[bool], bool]
"""Lets a delivery that waits go on, as the probe or because the breaker has closed; returns whether it still waits."""


class Kind(Enum):
    """How events fail that are to be tried again."""

    SUSPECT = "suspect"
    """The sink says that it is down, but the event may be the cause."""
    DOWN = "down"
    """The sink is down, and the event cannot be the cause."""
    AMBIGUOUS = "ambiguous"
    """It may be either."""

    @classmethod
    def of(cls, error: DeliveryError) -> Kind:
        """The kind of a failure."""
        if isinstance(error, Ambiguous):
            return cls.AMBIGUOUS
        may_be = isinstance(error, EndpointDown) and error.event_may_be_cause and error.retry_after is None
        return cls.SUSPECT if may_be else cls.DOWN


class CircuitBreaker:
    """What all lanes of a step know of its sink, or of one destination of it.

    Closed, deliveries go ahead. Open, they wait in `acquire`, or are called back by `enqueue`; after each pause the one
    that has waited longest is admitted as a probe (the breaker is half-open then), and when it succeeds all go ahead.
    `accepted` counts the events accepted; `probes_at` is when the next
    probe is due while it is open (`time.monotonic`). `trouble` says what is wrong; it is None while nothing is. With a
    `pacer`, probes wait for their turn among those of the other destinations.
    """

    def __init__(self, probe: Probe, stopping: Stopping, pacer: ProbePacer | None = None) -> None:
        self.accepted = 0
        self.trouble: str | None = None
        self.error: DeliveryError | None = None
        self.is_open = False
        self._probe = probe
        self._stopping = stopping
        self._pacer = pacer
        self._failing: dict[object, Kind] = {}
        self._kinds: Counter[Kind] = Counter()
        self._opened_at = 0.0
        self._firm_until = 0.0
        self.probes_at = 0.0
        self._doubts = 0
        self._refused = 0
        self._waiting: deque[Admit] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False  # a probe that nobody was there to make
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Closed, open, or half-open while a probe is under way."""
        if not self.is_open:
            return "closed"
        return "half-open" if self._probing else "open"

    @property
    def suspect(self) -> bool:
        """Whether it has failed ambiguously on several different events with no success in between."""
        return self._doubts >= self._probe.suspect_after

    @property
    def refusing(self) -> bool:
        """Whether it has refused so many different events in a row that they cannot all be wrong."""
        return self._probe.refusing_after is not None and self._refused >= self._probe.refusing_after

    @property
    def firm(self) -> bool:
        """Whether it asked to be left alone, and that time is not over yet."""
        return time.monotonic() < self._firm_until

    @property
    def idle(self) -> bool:
        """Whether nothing needs to be remembered of it: it is closed, and no event that failed is to be tried again."""
        return not self.is_open and not self._failing

    def outage(self, kind: Kind) -> bool:
        """Whether so many different events are failing in this way that the sink must be the cause."""
        known = self._kinds
        failing = known[kind] if kind is not Kind.DOWN else known[kind] + known[Kind.SUSPECT]
        return failing >= self._probe.suspect_after

    def fails(self, unit: object, kind: Kind) -> None:
        """Remember that events that are tried together have failed."""
        self.forget(unit)
        self._failing[unit] = kind
        self._kinds[kind] += 1

    def forget(self, unit: object) -> None:
        """These events have been accepted or given up, or are part of others now."""
        kind = self._failing.pop(unit, None)
        if kind is not None:
            self._kinds[kind] -= 1

    def accept(self, events: int) -> None:
        """It has accepted so many events."""
        self.accepted += events
        self._doubts = self._refused = 0
        if self.trouble is not None or self.is_open:
            self._close()

    def doubt(self) -> int:
        """It has failed ambiguously on events for the first time; returns how often that happened in a row."""
        self._doubts += 1
        return self._doubts

    def refuse(self) -> None:
        """It has refused a further event."""
        self._refused += 1
        self.answer()

    def answer(self) -> None:
        """It has refused an event, so it is there."""
        if not self.refusing:
            self._close()

    def complain(self, error: DeliveryError) -> None:
        """It may be in trouble, but deliveries go ahead."""
        self.trouble = str(error)

    def open(self, error: DeliveryError, *, probing: bool) -> None:
        """Hold deliveries back because of `error`; `probing` if a probe failed with it."""
        now = time.monotonic()
        self.trouble, self.error = str(error), error
        if not self.is_open:
            self.is_open, self._opened_at, probing = True, now, True
        # Requests that are under way may succeed, or fail with another error, but it asked to be left alone.
        self._firm_until = max(self._firm_until, now + asked_for(self._probe, error))
        if probing:
            self._probing = False
            self._schedule(probe_pause(self._probe, now - self._opened_at, error))
        elif self._due or (self._timer is not None and self.probes_at < self._firm_until):
            self._due = False
            self._schedule(0.0)

    async def acquire(self) -> bool:
        """Wait while it is open; returns whether the caller is the probe. Raises Halted when the relay stops."""
        while self.is_open:
            if self._take_due():
                return True
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            admit = partial(_resolve, future)
            self._waiting.append(admit)
            try:
                if await self._stopping.unless(_result(future)):
                    return self.is_open
            finally:
                if admit in self._waiting:
                    self._waiting.remove(admit)
        return False

    def enqueue(self, admit: Admit) -> None:
        """Call `admit` as soon as it may go ahead, perhaps at once, for a caller that does not wait here."""
        if not self.is_open:
            admit(False)
        elif self._take_due():
            admit(True)
        else:
            self._waiting.append(admit)

    def probed(self) -> None:
        """A probe is over. Whatever came of it, the next one gets its turn while the breaker is still open."""
        self._probing = False
        if self.is_open and self._timer is None and not self._due:
            self._schedule(self._probe.first)

    def _take_due(self) -> bool:
        if not self._due:
            return False
        self._due, self._probing = False, True
        return True

    def _schedule(self, pause: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        self.probes_at = max(now + pause, self._firm_until)
        self._timer = asyncio.get_running_loop().call_later(self.probes_at - now, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._pacer is None:
            self._offer()
        else:
            self._pacer.request(self._offer)

    def _offer(self) -> bool:
        """Admit a probe; returns whether one was needed."""
        if not self.is_open or self._timer is not None:
            return False
        if self.firm:  # it has asked to be left alone while the probe waited for its turn
            self._schedule(0.0)
            return False
        self._probing = self._wake(probe=True)
        self._due = not self._probing
        return True

    def _wake(self, *, probe: bool) -> bool:
        while self._waiting:
            if self._waiting.popleft()(probe):
                return True
        return False

    def _close(self) -> None:
        if self.is_open and self.firm:
            if self._timer is None:
                self._schedule(0.0)
            return
        was_open = self.is_open
        self.is_open = self._due = self._probing = False
        self.trouble = self.error = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._wake(probe=False):
            pass
        if was_open and self._pacer is not None:
            self._pacer.hurry()


def _resolve(future: asyncio.Future[bool], probe: bool) -> bool:
    if future.done():
        return False
    future.set_result(probe)
    return True


async def _result(future: asyncio.Future[bool]) -> bool:
    return await future
