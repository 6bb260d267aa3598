"""Waits for a relay's lease as a standby, and holds it while the relay is active."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from datetime import datetime, timezone
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from mess import leadership
from mess.cancellation import within
from mess.errors import StateError, Superseded
from mess.leadership import Leadership
from mess.relay.ha.duties import Duties, keep_verifying
from mess.relay.ha.lease_watch import UNOBSERVED, LeaseWatch, margin, patience
from mess.relay.ha.role import Role
from mess.relay.stopping import Stopping
from mess.state.ha_lease import HaLease, LeaseRecord, Wish
from mess.state.instance import Instance
from mess.state.lease import Presence
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

T = TypeVar("T")

_RENEWALS = 5
_RELEASE_TIMEOUT = 1.0  # a stop must not wait for an unreachable server
_POLL, _FASTEST_POLL = 0.3, 0.05


class LeaseHolder:
    """An async context manager: entered when this process has the lease, however long that takes; releases it at the
    end.

    Inside the context, it renews the lease of `seconds`, extends `leadership`, and checks the state's files every
    `interval` seconds. While it cannot renew, deliveries wait. If another process has the lease, or asks for it, or the
    files are lost, it sets `stopping` and raises Superseded or StateError at its end.

    With `take_over`, it asks a process that is alive to hand over. `report` is called with a sentence about the wait,
    `grace` is how long deliveries in flight may take when it hands over. Entering raises Halted if `stopping` is set
    meanwhile, and StateError if the files are lost. `replaced` is the process that had the lease before and may still
    have requests in flight.
    """

    def __init__(
        self,
        store: StateStore,
        lease: HaLease,
        instance: Instance,
        *,
        stopping: Stopping,
        seconds: float,
        take_over: bool,
        interval: float,
        grace: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._instance = instance
        self._stopping = stopping
        self._seconds = seconds
        self._take_over = take_over
        self._interval = max(0.05, min(interval, seconds))
        self._grace = grace
        self._report = report
        self._watch = LeaseWatch(instance, seconds)
        self._patience = patience(seconds)
        self._poll = min(_POLL, max(_FASTEST_POLL, seconds / 20))
        self._active: Presence | None = None
        self._problem: str | None = None
        self._since = datetime.now(timezone.utc)
        self._count = 0
        self._trying: tuple[int, float] = (-1, 0.0)
        self._has_it = self._has_claimed = False
        self._heir: Wish | None = None
        self._duties = Duties(stopping)
        self.leadership = Leadership(until=-math.inf)
        self.replaced: Presence | None = None
        self.lapsed = False
        """At the end of the context: whether the lease had not been renewed in time."""

    def settling(self, grace: float) -> float:
        """For how many seconds the process that was replaced may still deliver what it had sent. `grace` is what it
        gives deliveries in flight."""
        return 0.0 if self.replaced is None else grace

    @property
    def role(self) -> Role:
        """What this process does at present."""
        if self._has_it:
            return Role("active", self._since, self._seconds, epoch=self.leadership.epoch, active=self._active)
        return Role("standby", self._since, self._seconds, active=self._active, problem=self._problem)

    async def __aenter__(self) -> Self:
        try:
            await self._stopping.unless(self._acquire())
        except BaseException:
            await self._release()  # it may just have been taken
            raise
        self._has_it, self._since = True, datetime.now(timezone.utc)
        self._active = Presence(self._instance, self._since)
        verify = partial(keep_verifying, self._store, self._interval)
        self._duties.begin(self._keep, verify)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._duties.end()
        self.lapsed = self.leadership.lapsed
        self.leadership.extend(-math.inf)
        self._has_it = False
        await self._release(self._heir)
        self._duties.raise_rather_than(error)

    async def _acquire(self) -> None:
        answered, warned = leadership.now(), False
        while True:
            try:
                record = await self._ask(self._lease.read())
                if record is not None and record.instance.id == self._instance.id:
                    if await self._renewed(record.count or 0):
                        reason = "an earlier claim had been applied" if self._has_claimed else "it was handed over"
                        log.info("active: took the lease", reason=reason)
                        return
                elif await self._taken(record):
                    return
            except _NoAnswer as error:
                self._problem = f"cannot find out who is active: {error}"
                self._report(self._problem)
                silent = leadership.now() - answered
                if not warned and silent > self._seconds * UNOBSERVED:
                    warned = True
                    log.warning("standby: cannot take over at present", reason=self._problem)
            else:
                if warned:
                    log.info("standby: can take over again")
                answered, warned, self._problem = leadership.now(), False, None
            await asyncio.sleep(self._poll)

    async def _taken(self, record: LeaseRecord | None) -> bool:
        now = leadership.now()
        reason = self._watch.free(record, now, erased=self._lease.erased)
        if reason is None and record is None:
            return False
        if reason is None and record is not None:
            self._stand_by(record)
            if not self._take_over:
                return False
            if record.count is not None:
                await self._ask_for_handover(record)
                return False
            reason = "taken by force from a process without `ha`, which will stop"
        await self._store.verify()  # a process that has the files which are there now is not seen in deleted ones
        self._has_claimed, self.replaced = True, None
        if record is not None and not record.has_ended(self._instance):
            self.replaced = Presence(record.instance, record.since)
        if not await self._ask(self._lease.claim(self._instance, self._seconds, record)):
            return False
        self._count = 0
        self._extend(now)
        silent = f"{self._watch.silence(now):.1f}s"
        before = {} if record is None else {"before": str(record.instance), "silent": silent}
        log.info("active: took the lease", reason=reason, **before)
        return True

    def _stand_by(self, record: LeaseRecord) -> None:
        if self._active is None or self._active.instance.id != record.instance.id:
            log.info("standby: another process is active", active=str(record.instance), lease=f"{self._seconds:g}s")
        self._active = Presence(record.instance, record.since, self._watch.silence(leadership.now()))
        self._report(f"standby: {record.instance} is active")

    async def _ask_for_handover(self, record: LeaseRecord) -> None:
        if record.wish is None:
            log.info("asking the active process to hand over", active=str(record.instance))
            await self._ask(self._lease.ask_for_handover(Wish(self._instance, self._seconds), record))

    async def _keep(self) -> None:
        pause, warned = self._seconds / _RENEWALS, False
        while True:
            await asyncio.sleep(pause)
            problem = "its record has changed"
            pause = self._poll
            try:
                if await self._renewed(self._count):
                    pause = self._seconds / _RENEWALS
            except _NoAnswer as error:
                problem = str(error)
            if self.leadership.lapsed and not warned:
                log.warning("the lease cannot be renewed; deliveries wait", lease=f"{self._seconds:g}s", error=problem)
            elif warned and not self.leadership.lapsed:
                log.info("the lease has been renewed; deliveries continue")
            warned = self.leadership.lapsed

    async def _renewed(self, count: int) -> bool:
        """Try once to renew the lease, which has this count. Raises Superseded, _NoAnswer."""
        sent = leadership.now()
        if self._trying[0] != count:
            self._trying = (count, sent)
        record = await self._ask(self._lease.renew(self._instance, count))
        if record is None:
            # An earlier attempt, which had seemed to fail, may have been applied, nobody knows when.
            sent = self._trying[1]
            record = await self._ask(self._lease.read())
            if record is None:
                await self._ask(self._lease.claim(self._instance, self._seconds, None))  # somebody has deleted it
                return False
        if record.instance.id != self._instance.id:
            await self._store.verify()  # who deletes its files may delete the lock that protects the lease, too
            self.leadership.extend(-math.inf)
            raise Superseded(f"another process has taken the lease of {self._store.relay!r}: {record.instance}")
        if record.count is None:  # somebody has changed it
            await self._ask(self._lease.claim(self._instance, self._seconds, record))
            self._count = 0
            return False
        self._count = record.count
        if self._count != count + 1:
            return False
        self._extend(sent)
        self._obey(record.wish)
        return True

    def _extend(self, sent: float) -> None:
        until = sent + self._seconds - margin(self._seconds)
        self.leadership.extend(max(self.leadership.until, until))

    def _obey(self, wish: Wish | None) -> None:
        if wish is None or self._heir is not None or wish.instance.has_ended(self._instance):
            return
        self._heir = wish
        log.info("handing over: another process has asked for the lease", to=str(wish.instance))
        self._duties.fail(Superseded(f"handed over to {wish.instance}, which has asked for it"))
        self._stopping.in_order(self._grace())

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._patience, question)
        except TimeoutError:
            raise _NoAnswer(f"the state has not answered within {self._patience:g} s") from None
        except StateError as error:
            raise _NoAnswer(str(error)) from error

    async def _release(self, heir: Wish | None = None) -> None:
        with contextlib.suppress(StateError, TimeoutError):
            await within(_RELEASE_TIMEOUT, self._lease.release(self._instance, heir))


class _NoAnswer(Exception):
    """The storage did not answer, or said that it cannot; what it was asked for may have been done all the same."""
