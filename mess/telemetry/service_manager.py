"""Tells a service manager such as systemd whether the relay is ready, what it waits for, and that its event loop runs.

The protocol is that of sd_notify(3): datagrams to the socket in `NOTIFY_SOCKET`, and a watchdog that expects one
within `WATCHDOG_USEC` microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from mess.cancellation import cancel
from mess.telemetry.printable import printable
from mess.telemetry.redact import redact

_TICK = 1.0
"""Seconds between two looks at the relay."""


class Health(Protocol):
    """Why a relay is not ready, and what else needs attention. No method waits or raises."""

    def problems(self) -> list[str]:
        """Why it is not ready; empty if it is."""

    def standby(self) -> str | None:
        """What it waits for as a standby; None if it is none."""

    def sink_problems(self) -> list[str]:
        """The sinks that are not available, and why."""

    def warnings(self) -> list[str]:
        """Other things that need attention although it is ready."""


class Reported(Protocol):
    """A relay that a service manager runs."""

    @property
    def status(self) -> Health:
        """Its health."""

    @property
    def stopping(self) -> bool:
        """Whether it is about to end."""


@asynccontextmanager
async def informed(relay: Reported, environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Keep the service manager informed of the relay while the body runs. Without a `NOTIFY_SOCKET`, do nothing."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        yield
        return
    with ServiceManager(address, _watchdog(environ)) as manager:
        following = asyncio.create_task(manager.follow(relay))
        try:
            yield
        finally:
            await cancel(following)
            manager.stopping()


class ServiceManager:
    """The service manager at the end of a socket, `/path` or `@abstract`.

    `watchdog` is how many seconds it waits for a sign of life, None if it expects none.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._half = None if watchdog is None else watchdog / 2
        self._alive_at = time.monotonic()
        self._ready = self._stopping = False
        self._said = ""

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def follow(self, relay: Reported) -> None:
        """Report what changes, until cancelled."""
        while True:
            self._look(relay)
            await asyncio.sleep(self._alive())

    def stopping(self) -> None:
        """Report that the relay is about to end."""
        if not self._stopping:
            self._stopping = self._send("STOPPING=1", "STATUS=stopping; deliveries in flight are awaited")

    def _look(self, relay: Reported) -> None:
        if relay.stopping:
            self.stopping()
            return
        sentence, ready = _sentence(relay.status)
        news = [f"STATUS={sentence}"] if sentence != self._said else []
        if ready and not self._ready:
            news.append("READY=1")
        if news and self._send(*news):
            self._said, self._ready = sentence, self._ready or ready

    def _alive(self) -> float:
        """Send a sign of life if it is due. Returns the seconds until the next look."""
        if self._half is None:
            return _TICK
        now = time.monotonic()
        if now >= self._alive_at and self._send("WATCHDOG=1"):
            self._alive_at = now + self._half
        return min(_TICK, self._half, max(0.01, self._alive_at - now))

    def _send(self, *lines: str) -> bool:
        # The event loop never waits for a manager that is busy or gone: the next look sends again.
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)
            return True
        return False


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """The seconds within which a sign of life of this process is expected."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def _sentence(health: Health) -> tuple[str, bool]:
    """What the relay does, in one line, and whether it is ready."""
    problems = health.problems()
    found = problems or [*health.sink_problems(), *health.warnings()]
    state = "not ready" if problems else health.standby() or "ready"
    if not found:
        return state, True
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return printable(redact(f"{state}: {found[0]}{more}")), not problems
