"""Tells every part of the relay that it is to stop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from weakref import WeakSet

from mess.cancellation import cancel

T = TypeVar("T")

_DRAIN = 2.0  # seconds


class Halted(Exception):
    """The relay, or a pipeline that is to be replaced, is stopping: leave the current events unfinished."""


class Stopping:
    """Once it is set, nothing more is read and pauses end immediately.

    Events that are waiting in the lanes may still be delivered for a short while: events finished behind an unfinished
    one would be delivered again after the next start. `failure` is the error that everything stops for, None if it is
    no error.

    With `whole`, it is that of one part, which stops with the whole, and can be stopped alone. An error in it stops the
    whole.
    """

    def __init__(self, whole: Stopping | None = None) -> None:
        self._event = asyncio.Event()
        self._until = math.inf
        self.failure: BaseException | None = None
        self._whole = whole
        self._parts: WeakSet[Stopping] = WeakSet()
        if whole is not None:
            whole._parts.add(self)
            if whole.is_set():
                self._until = whole._until
                self._event.set()

    def fail(self, error: BaseException) -> None:
        """Stop at once because of an error; the first one is the `failure`."""
        if self._whole is not None:
            self._whole.fail(error)
            return
        if self.failure is None:
            self.failure = error
        self.set()

    def set(self, drain: float = 0.0) -> None:
        """Stop; deliveries may still start for `drain` seconds."""
        self._until = min(self._until, time.monotonic() + drain)
        self._event.set()
        for part in self._parts:
            part.set(drain)

    def in_order(self, grace: float) -> None:
        """Stop; waiting events may use part of the `grace` period for deliveries in flight."""
        self.set(drain=min(_DRAIN, grace / 2))

    def is_set(self) -> bool:
        """Whether the relay is stopping."""
        return self._event.is_set()

    def is_over(self) -> bool:
        """Whether no delivery may start any more."""
        return self._event.is_set() and time.monotonic() >= self._until

    def check(self) -> None:
        """Raise Halted if no delivery may start any more."""
        if self.is_over():
            raise Halted

    async def wait(self) -> None:
        """Return when the relay is to stop."""
        await self._event.wait()

    async def pause(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        """Wait for this many seconds, or until `woken` is set. Raises Halted as soon as the relay is stopping."""
        try:
            async with asyncio.timeout(seconds):
                await (self._event.wait() if woken is None else self.unless(_wait(woken)))
        except TimeoutError:
            return
        if self._event.is_set():
            raise Halted

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work, or cancel it and raise Halted as soon as the relay is stopping."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Halted
            return task.result()
        finally:
            await cancel(task, stop)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
