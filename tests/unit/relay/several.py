"""Several processes in simulated time, each with an event loop and a clock of its own, and a storage between them that
delays, loses and repeats."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from mess import leadership
from mess.errors import StateError
from mess.state.ha_lease import HaLease, LeaseRecord, Wish
from mess.state.instance import Instance

T = TypeVar("T")


class World:
    """The true time, in seconds, what is to happen, and the storage with one record. `random` decides what goes
    wrong: with the probability `faults`, an answer is an error, or never comes, or comes late."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.time = 0.0
        self.faults = 0.0
        self.slowness = 0.01
        self.processes: list[Process] = []
        self.record: LeaseRecord | None = None
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._agenda, (max(time, self.time), next(self._numbers), what))

    def run(self, until: float, check: Callable[[], None]) -> None:
        """Let everything happen up to this time, and check after each event."""
        while True:
            due = min(self.processes, key=lambda each: each.due, default=None)
            planned = self._agenda[0][0] if self._agenda else until
            time = min(planned, due.due if due else until)
            if time >= until:
                self.time = until
                return
            self.time = max(self.time, time)
            if planned <= time:
                heapq.heappop(self._agenda)[2]()
            elif due is not None:
                due.step()
            check()


class Process:
    """One process. Its clock shows `offset` at the beginning and goes `rate` times as fast as the true time."""

    def __init__(self, world: World, name: str, *, offset: float, rate: float) -> None:
        self.world, self.name, self.offset, self.rate = world, name, offset, rate
        self.frozen = self.killed = self.cut_off = False
        self.loop = _Loop(self.clock)
        world.processes.append(self)

    def clock(self) -> float:
        """What its clock shows."""
        return self.offset + self.world.time * self.rate

    @property
    def due(self) -> float:
        """The true time at which it has something to do."""
        if self.frozen or self.killed:
            return float("inf")
        return max(self.world.time, (self.loop.due() - self.offset) / self.rate)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it do some work."""
        with self._running():
            self.task = self.loop.create_task(work)

    def step(self) -> None:
        """Let it do what is due. Raises what ended its work."""
        with self._running():
            self.loop._run_once()  # type: ignore[attr-defined]
        if self.task.done():
            self.task.result()

    def close(self) -> None:
        """End it for good, whatever it is doing."""
        with self._running():
            self.task.cancel()
            while not self.task.done():
                self.world.time += 0.05
                self.loop._run_once()  # type: ignore[attr-defined]
        self.loop.close()

    @contextmanager
    def _running(self) -> Iterator[None]:
        real, leadership.now = leadership.now, self.clock
        asyncio._set_running_loop(self.loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)
            leadership.now = real


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(_NeverReady())
        self._clock = clock

    def time(self) -> float:
        return self._clock()

    def due(self) -> float:
        if self._ready:  # type: ignore[attr-defined]
            return self._clock()
        return self._scheduled[0].when() if self._scheduled else float("inf")  # type: ignore[attr-defined]


class _NeverReady(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[Any]:
        return []


class SimulatedLease(HaLease):
    """The world's record, as one process reaches it."""

    def __init__(self, process: Process) -> None:
        super().__init__("shop")
        self.process = process

    async def read(self) -> LeaseRecord | None:
        return await self._ask(lambda: self.process.world.record)

    async def claim(self, instance: Instance, seconds: float, replacing: LeaseRecord | None) -> bool:
        world = self.process.world

        def claim() -> bool:
            if (world.record and world.record.stored) != (replacing and replacing.stored):
                return False
            world.record = _stored(LeaseRecord(instance, None, count=0, lease=seconds))
            return True

        return await self._ask(claim)

    async def renew(self, instance: Instance, count: int) -> LeaseRecord | None:
        world = self.process.world

        def renew() -> LeaseRecord | None:
            held = world.record
            if held is None or (held.instance.id, held.count) != (instance.id, count):
                return None
            world.record = _stored(replace(held, count=count + 1))
            return world.record

        return await self._ask(renew)

    async def ask_for_handover(self, wish: Wish, holder: LeaseRecord) -> None:
        world = self.process.world

        def ask() -> None:
            if world.record is not None and world.record.instance.id == holder.instance.id:
                world.record = replace(world.record, wish=wish)

        await self._ask(ask)

    async def release(self, instance: Instance, heir: Wish | None = None) -> None:
        world = self.process.world

        def release() -> None:
            if world.record is None or world.record.instance.id != instance.id:
                return
            world.record = heir and _stored(LeaseRecord(heir.instance, None, count=0, lease=heir.lease))

        await self._ask(release)

    async def _ask(self, apply: Callable[[], T]) -> T:
        world, process = self.process.world, self.process
        answer: asyncio.Future[T] = process.loop.create_future()

        def way() -> float:
            slow = world.random.random() < world.faults
            return world.random.expovariate(1 / (world.slowness * (60 if slow else 1)))

        def lost() -> bool:
            return process.cut_off or world.random.random() < world.faults

        def arrive() -> None:
            if lost():
                if world.random.random() < 0.5:
                    world.at(world.time + way(), lambda: process.loop.call_soon(_fail, answer))
                return
            result = apply()
            if lost():
                if world.random.random() < 0.5:
                    world.at(world.time + way(), lambda: process.loop.call_soon(_fail, answer))
                return
            world.at(world.time + way(), lambda: process.loop.call_soon(_give, answer, result))

        world.at(world.time + way(), arrive)
        return await answer


def _stored(record: LeaseRecord) -> LeaseRecord:
    return replace(record, stored=(record.instance.id, record.count))


def _give(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(StateError("failed, or so it seems"))
