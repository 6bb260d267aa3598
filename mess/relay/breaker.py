"""A circuit breaker: whether a sink, or one of its destinations, is down, and which delivery may probe it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from mess.config.model import Probe
from mess.errors import DeliveryError, Refused
from mess.relay.evidence import Evidence
from mess.relay.obstacle import Obstacle
from mess.relay.probe_pacer import ProbePacer
from mess.relay.retry import Verdict, asked_for, probe_pause
from mess.relay.stopping import Stopping

Admit = Callable[[bool], bool]
"""Lets a waiting delivery continue, as the probe or because the breaker has closed; returns whether it was still
waiting."""


@dataclass(slots=True)  # not frozen: one is made for every delivery, and that takes three times as long
class Result:
    """What an attempt has shown about a sink.

    `accepted` is how many events the sink accepted. `error` is why others failed, and `verdict` what happens to those;
    `alone` is whether the attempt delivered none. `probe` is whether the attempt probed the sink, and is over now.
    """

    accepted: int = 0
    error: DeliveryError | None = None
    verdict: Verdict | None = None
    alone: bool = False
    probe: bool = False


PROBED = Result(probe=True)
"""A probe is over, and has shown no more than is already reported."""


class CircuitBreaker:
    """What all lanes of a step know about its sink, or about one destination of it.

    A delivery calls `acquire` (or `enqueue`, to be called back), and afterwards `report`. While the breaker is closed,
    deliveries go ahead. While it is open, they wait; after each pause, the one that has waited longest is admitted as a
    probe (the breaker is then half-open). If the probe succeeds, all go ahead.

    `trouble` says what is wrong, or is None, and `since` is when that began; `error` is what keeps it open. `probes_at`
    is when the next probe is due while it is open. Both times are of `time.monotonic`. `changed` is called with the
    error when it opens, and with None when it closes.

    For a destination, `whole` is the evidence about the whole sink, and probes take turns with those of the other
    destinations in the `pacer`.
    """

    def __init__(
        self,
        probe: Probe,
        stopping: Stopping,
        *,
        changed: Callable[[DeliveryError | None], None] = lambda error: None,
        pacer: ProbePacer | None = None,
        whole: Evidence | None = None,
    ) -> None:
        self.evidence = Evidence(probe, whole)
        self.trouble: str | None = None
        self._brief = ""
        self.since = 0.0
        self.error: DeliveryError | None = None
        self.probes_at = 0.0
        self._probe = probe
        self._stopping = stopping
        self._changed = changed
        self._pacer = pacer
        self._open = False
        self._opened_at = 0.0
        self._paused_until = 0.0
        self._waiting: deque[Admit] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False  # a probe that no delivery was waiting to make
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Closed, open, or half-open while a probe is under way."""
        if not self._open:
            return "closed"
        return "half-open" if self._probing else "open"

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps deliveries from succeeding; None if nothing is known."""
        if self.trouble is None:
            return None
        if not self._open:
            what, due = "attempts fail: ", None
        else:
            what = "" if isinstance(self.error, Refused) else "the sink is down: "
            due = self.probes_at if self._timer is not None else None
        return Obstacle(what + self.trouble, self.since, due, error=self.error, brief=what + self._brief)

    @property
    def paused(self) -> bool:
        """Whether the sink asked for a pause that is not over yet."""
        return time.monotonic() < self._paused_until

    async def acquire(self) -> bool:
        """Wait while it is open; returns whether the caller is the probe. Raises Halted if the relay stops."""
        while self._open:
            if self._take_due():
                return True
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            admit = partial(_resolve, future)
            self._waiting.append(admit)
            try:
                if await self._stopping.unless(_result(future)):
                    return self._open
            except asyncio.CancelledError:
                if future.done() and not future.cancelled() and future.result():
                    self.report(PROBED)
                raise
            finally:
                if admit in self._waiting:
                    self._waiting.remove(admit)
        return False

    def enqueue(self, admit: Admit) -> None:
        """Like `acquire`, for a caller that does not wait here: call `admit` once it may go ahead, perhaps at once."""
        if not self._open:
            admit(False)
        elif self._take_due():
            admit(True)
        else:
            self._waiting.append(admit)

    def report(self, result: Result) -> None:
        """Record what an attempt has shown. Whatever it was, the next probe gets its turn if it is still open."""
        error, evidence = result.error, self.evidence
        if result.accepted:
            evidence.accept(result.accepted)
            if self.trouble is not None or self._open:
                self._close()
        if error is not None and result.verdict in (Verdict.HOLD, Verdict.ROTATE):
            self._hold(error, probing=result.probe)
        elif error is not None and result.verdict is Verdict.RETRY:
            self._trouble(error)
        elif isinstance(error, Refused):  # a sink that refuses events is up
            if result.alone and result.verdict is Verdict.GIVE_UP:
                evidence.refuse()
            if not evidence.refusing:
                self._close()
        if result.probe:
            self._probing = False
            if self._open and self._timer is None and not self._due:
                self._schedule(self._probe.first)

    def retire(self) -> None:
        """Nobody delivers any more: what was known of the sink is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._open:
            self._open = False
            self._changed(None)

    def _hold(self, error: DeliveryError, *, probing: bool) -> None:
        now = time.monotonic()
        self._trouble(error)
        self.error = error
        if not self._open:
            self._open, self._opened_at, probing = True, now, True
            self._changed(error)
        # Requests in flight may succeed, or fail with another error, but the sink asked for a pause.
        self._paused_until = max(self._paused_until, now + asked_for(self._probe, error))
        if probing:
            self._probing = False
            self._schedule(probe_pause(self._probe, now - self._opened_at, error))
        elif self._due or (self._timer is not None and self.probes_at < self._paused_until):
            self._due = False
            self._schedule(0.0)

    def _trouble(self, error: DeliveryError) -> None:
        if self.trouble is None:
            self.since = time.monotonic()
        self.trouble, self._brief = str(error), error.brief

    def _close(self) -> None:
        if self._open and self.paused:
            if self._timer is None:
                self._schedule(0.0)
            return
        was_open = self._open
        self._open = self._due = self._probing = False
        self.trouble = self.error = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._wake(probe=False):
            pass
        if was_open:
            self._changed(None)
            if self._pacer is not None:
                self._pacer.hurry()

    def _take_due(self) -> bool:
        if not self._due:
            return False
        self._due, self._probing = False, True
        return True

    def _schedule(self, pause: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        self.probes_at = max(now + pause, self._paused_until)
        self._timer = asyncio.get_running_loop().call_later(self.probes_at - now, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._pacer is None:
            self._offer()
        else:
            self._pacer.request(self._offer)

    def _offer(self) -> bool:
        """Admit a probe; returns whether one was needed."""
        if not self._open or self._timer is not None:
            return False
        if self.paused:  # the sink asked for a pause while the probe waited for its turn
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


def _resolve(future: asyncio.Future[bool], probe: bool) -> bool:
    if future.done():
        return False
    future.set_result(probe)
    return True


async def _result(future: asyncio.Future[bool]) -> bool:
    return await future
