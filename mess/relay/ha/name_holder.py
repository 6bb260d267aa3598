"""Holds a relay's name while the relay runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from mess.cancellation import within
from mess.errors import NameInUse, StateError, Superseded
from mess.leadership import Leadership
from mess.relay.ha.duties import Duties, keep_verifying
from mess.relay.stopping import Stopping
from mess.state.instance import Instance
from mess.state.lease import ALIVE_SECONDS, BEAT_SECONDS, OBSERVED_SECONDS, Presence
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_POLL_SECONDS = 0.5
_BEAT_TIMEOUT = 10.0
_BEAT_AGAIN = 1.0  # a waiting process watches an overdue beat for OBSERVED_SECONDS
_RELEASE_TIMEOUT = 1.0  # a stop must not wait for an unreachable server


class NameHolder:
    """An async context manager: entered when this process may run the relay; releases the name at the end.

    It waits for another process with the name for up to `wait` seconds, or forces it out with `take_over`, and calls
    `report` with a sentence about it. Inside the context, it writes beats and checks the state's files every `interval`
    seconds. If the name or the files are lost, it sets `stopping` and raises Superseded or StateError at its end.

    Entering raises NameInUse if the other process has not stopped in time, Halted if `stopping` is set meanwhile, or
    StateError. `replaced` is the process that was waited for or forced out.
    """

    def __init__(
        self,
        store: StateStore,
        instance: Instance,
        stopping: Stopping,
        *,
        wait: float,
        take_over: bool,
        interval: float,
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._instance = instance
        self._stopping = stopping
        self._wait = wait
        self._take_over = take_over
        self._interval = max(0.05, min(interval, BEAT_SECONDS))
        self._report = report
        self.replaced: Presence | None = None
        self.leadership = Leadership()
        self._duties = Duties(stopping)

    def settling(self, grace: float) -> float:
        """For how many seconds the process that was replaced may still deliver. `grace` is what it gives deliveries in
        flight."""
        return 0.0 if self.replaced is None else ALIVE_SECONDS + grace

    async def __aenter__(self) -> Self:
        try:
            await self._stopping.unless(self._acquire())
        except BaseException:
            await self._release()  # it may just have acquired the name
            raise
        verify = partial(keep_verifying, self._store, self._interval)
        self._duties.begin(self._beat, verify)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._duties.end()
        if isinstance(error, Superseded) and self._duties.failure is None:
            await self._ask_by_whom()
        await self._release()
        self._duties.raise_rather_than(error)

    async def _acquire(self) -> None:
        began = time.monotonic()
        if self._take_over and (running := await self._store.alive()) is not None:
            self.replaced = running
            log.warning("taking over from another process with this name, which will stop", process=str(running))
        observe = min(OBSERVED_SECONDS, self._wait)
        while True:
            other = await self._store.lease.acquire(self._instance, force=self._take_over, observe=observe)
            if other is None:
                if self.replaced is not None:
                    log.info("the name is free; starting", waited=round(time.monotonic() - began, 1))
                return
            if time.monotonic() - began >= self._wait:
                raise NameInUse(self._in_use(other))
            if self.replaced is None or self.replaced.instance.id != other.instance.id:
                self.replaced = other
                self._report(f"waiting for another process with the name {self._store.relay!r} to stop: {other}")
                log.warning(
                    "waiting for another process with this name to stop",
                    name=self._store.relay,
                    process=str(other),
                    wait=f"{self._wait:g}s",
                    hint="--take-over starts at once",
                )
            await asyncio.sleep(_POLL_SECONDS)

    def _in_use(self, other: Presence) -> str:
        waited = f" and has not stopped within {self._wait:g} s" if self._wait else ""
        return (
            f"another process runs under the name {self._store.relay!r}{waited}: {other}. Stop it, wait longer "
            "(--wait 5m), or start at once with --take-over: then the other process stops with exit code 6. "
            "To run two relays, give each its own `name`"
        )

    async def _beat(self) -> None:
        beaten, warned, pause = time.monotonic(), False, BEAT_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await within(_BEAT_TIMEOUT, self._store.lease.renew(self._instance))
            except Superseded:
                raise
            except (StateError, TimeoutError) as error:
                pause = _BEAT_AGAIN
                # The relay itself continues: as long as no checkpoint can be stored either, no process can take over.
                if not warned and time.monotonic() - beaten > ALIVE_SECONDS:
                    warned = True
                    log.warning(
                        "this relay has not been able to report for some time that it is alive; another process with "
                        "its name would take over",
                        error=str(error) or "no answer in time",
                    )
            else:
                beaten, warned, pause = time.monotonic(), False, BEAT_SECONDS

    async def _ask_by_whom(self) -> None:
        try:
            await within(_RELEASE_TIMEOUT, self._store.lease.renew(self._instance))
        except Superseded as error:
            self._duties.fail(error)
        except (StateError, TimeoutError):
            return

    async def _release(self) -> None:
        with contextlib.suppress(StateError, TimeoutError):
            await within(_RELEASE_TIMEOUT, self._store.lease.release(self._instance))
