"""A circuit breaker: whether a sink, or one of its destinations, is down, and which delivery may probe it."""

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
"""Lets a waiting delivery continue, as the probe or because the breaker has closed; returns whether it was still
waiting."""


class Kind(Enum):
    """How events failed that are to be retried."""

    SUSPECT = "suspect"
    """The sink seems to be down, but the event may be the cause."""
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
    """What all lanes of a step know about its sink, or about one destination of it.

    When it is closed, deliveries go ahead. When it is open, they wait in `acquire`, or are called back by `enqueue`.
    After each pause, the one that has waited longest is admitted as a probe (the breaker is then half-open); if it
    succeeds, all go ahead. `accepted` counts the accepted events. `probes_at` is when the next probe is due while it is
    open (`time.monotonic`). `trouble` says what is wrong, or is None. With a `pacer`, probes take turns with those of
    the other destinations.
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
        self._due = False  # a probe that no delivery was waiting to make
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
        """Whether it has refused so many different events in a row that it, and not the events, must be wrong."""
        return self._probe.refusing_after is not None and self._refused >= self._probe.refusing_after

    @property
    def firm(self) -> bool:
        """Whether the sink asked for a pause that is not over yet."""
        return time.monotonic() < self._firm_until

    @property
    def idle(self) -> bool:
        """Whether nothing about it needs to be remembered: it is closed, and no failed event is to be retried."""
        return not self.is_open and not self._failing

    def outage(self, kind: Kind) -> bool:
        """Whether so many different events are failing in this way that the sink must be the cause."""
        known = self._kinds
        failing = known[kind] if kind is not Kind.DOWN else known[kind] + known[Kind.SUSPECT]
        return failing >= self._probe.suspect_after

    def fails(self, unit: object, kind: Kind) -> None:
        """Record that events that are tried together have failed."""
        self.forget(unit)
        self._failing[unit] = kind
        self._kinds[kind] += 1

    def forget(self, unit: object) -> None:
        """Forget these events: they have been accepted or given up, or now belong to others."""
        kind = self._failing.pop(unit, None)
        if kind is not None:
            self._kinds[kind] -= 1

    def accept(self, events: int) -> None:
        """Record that the sink has accepted events."""
        self.accepted += events
        self._doubts = self._refused = 0
        if self.trouble is not None or self.is_open:
            self._close()

    def doubt(self) -> int:
        """Record that the sink has failed ambiguously on new events; returns how often that has happened in a row."""
        self._doubts += 1
        return self._doubts

    def refuse(self) -> None:
        """Record that the sink has refused another event."""
        self._refused += 1
        self.answer()

    def answer(self) -> None:
        """Record that the sink has refused an event, which shows that it is up."""
        if not self.refusing:
            self._close()

    def complain(self, error: DeliveryError) -> None:
        """Record a possible problem, while deliveries continue."""
        self.trouble = str(error)

    def open(self, error: DeliveryError, *, probing: bool) -> None:
        """Hold deliveries back because of `error`; `probing` is whether a probe failed with it."""
        now = time.monotonic()
        self.trouble, self.error = str(error), error
        if not self.is_open:
            self.is_open, self._opened_at, probing = True, now, True
        # Requests in flight may succeed, or fail with another error, but the sink asked for a pause.
        self._firm_until = max(self._firm_until, now + asked_for(self._probe, error))
        if probing:
            self._probing = False
            self._schedule(probe_pause(self._probe, now - self._opened_at, error))
        elif self._due or (self._timer is not None and self.probes_at < self._firm_until):
            self._due = False
            self._schedule(0.0)

    async def acquire(self) -> bool:
        """Wait while it is open; returns whether the caller is the probe. Raises Halted if the relay stops."""
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
        """Call `admit` once the delivery may go ahead, perhaps immediately, for a caller that does not wait here."""
        if not self.is_open:
            admit(False)
        elif self._take_due():
            admit(True)
        else:
            self._waiting.append(admit)

    def probed(self) -> None:
        """A probe is over. Whatever the result, the next one gets its turn if the breaker is still open."""
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
        if self.firm:  # the sink asked for a pause while the probe waited for its turn
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
