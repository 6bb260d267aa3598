"""Who holds the lease, whatever processes, clocks and the storage do: at most one, and after a while one again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mess.errors import StateError
from mess.leadership import Leadership
from mess.relay.ha import lease_holder
from mess.relay.ha.lease_holder import LeaseHolder
from mess.relay.ha.lease_watch import margin
from mess.relay.stopping import Halted, Stopping
from mess.state.instance import Instance
from tests.fuzz.profiles import examples
from tests.unit.relay.several import Process, SimulatedLease, World

LEASE = 10.0
FAULTY = 6 * LEASE


class _Store:
    relay = "shop"

    async def verify(self) -> None:
        return


class Member:
    """A process that wants to be active, forever."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.leadership = Leadership(until=-math.inf)
        self.stopping = Stopping()
        self.wants_it = False
        self._terms = 0
        process.start(self._live())

    @property
    def may_deliver(self) -> bool:
        """Whether it has permission, frozen or not."""
        return not self.process.killed and self.process.clock() < self.leadership.until

    async def _live(self) -> None:
        while True:
            self._terms += 1
            self.stopping = Stopping()
            instance = Instance(id=f"{self.process.name}-{self._terms}", host=self.process.name, pid=1)
            store: Any = _Store()
            holder = LeaseHolder(
                store,
                SimulatedLease(self.process),
                instance,
                stopping=self.stopping,
                seconds=LEASE,
                take_over=self.wants_it,
                interval=3,
                grace=lambda: 1.0,
                report=lambda reason: None,
            )
            self.wants_it = False
            self.leadership = holder.leadership
            try:
                async with holder:
                    await self.stopping.wait()
            except (Halted, StateError):
                continue


class Members:
    """The processes of a world; there is never more than one that may deliver."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members: list[Member] = []
        self.changes: list[tuple[float, str]] = []

    def add(self, offset: float, rate: float) -> None:
        name = f"p{len(self.members)}"
        self.members.append(Member(Process(self.world, name, offset=offset, rate=rate)))

    def active(self) -> int:
        """The index of the one that may deliver; 0 if there is none."""
        return next((index for index, each in enumerate(self.members) if each.may_deliver), 0)

    def check(self) -> None:
        names = [each.process.name for each in self.members if each.may_deliver]
        assert len(names) <= 1, f"{names} may deliver at {self.world.time:.3f}"
        if names and (not self.changes or self.changes[-1][1] != names[0]):
            self.changes.append((self.world.time, names[0]))

    def close(self) -> None:
        for process in self.world.processes:
            process.close()


FAULTS = ("freeze", "freeze", "cut off", "cut off", "kill", "stop", "ask", "storage down")
ACTIVE = -1
SLOW_HOLDER = [(9.3, "stop", 2, 2.0), (1.5, "ask", ACTIVE, 2.0), (8.7, "freeze", ACTIVE, 9.0)]
LATE_ANSWERS = [(8.4, "freeze", 0, 2.0), (9.2, "cut off", ACTIVE, 2.0), (4.9, "freeze", ACTIVE, 2.0)]
HURRIED_STANDBY = [(1.8, "cut off", 1, 15.0), (6.8, "ask", 0, 2.0), (2.1, "ask", 1, 15.0), (1.0, "ask", 2, 15.0)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Any, ...]:
    """A seed, clocks (offset, rate), a probability of lost answers, how slow the storage is, and what happens: (how
    long after the event before it, what, to whom, for how long)."""
    count = draw(st.integers(2, 3))
    rates = draw(st.sampled_from([(0.96, 1.04, 1.0), (1.04, 0.96, 0.96)]))
    clocks = [(draw(st.sampled_from([0.0, 3600.0, 5e6])), rate) for rate in rates[:count]]
    events = st.tuples(
        st.floats(0.1 * LEASE, LEASE),
        st.sampled_from(FAULTS),
        st.sampled_from([ACTIVE, ACTIVE, *range(count)]),
        st.sampled_from([0.2 * LEASE, 0.9 * LEASE, 1.1 * LEASE, 1.5 * LEASE]),
    )
    return (
        draw(st.integers(0, 2**32)),
        clocks,
        draw(st.sampled_from([0.0, 0.1, 0.3])),
        draw(st.sampled_from([0.005, 0.3, 0.8])),
        draw(st.lists(events, min_size=3, max_size=8)),
    )


@pytest.fixture(autouse=True, scope="module")
def _silent() -> Iterator[None]:
    with mock.patch.object(lease_holder, "log"):
        yield


# Each fails as soon as one rule is broken: the margin, a deadline from before the first sending, a whole lease.
@example((64470, [(0.0, 0.96), (5e6, 1.04), (0.0, 1.0)], 0.1, 0.005, SLOW_HOLDER))
@example((55642, [(3600.0, 0.96), (5e6, 1.04), (0.0, 1.0)], 0.0, 0.8, LATE_ANSWERS))
@example((58844, [(0.0, 1.04), (5e6, 0.96), (5e6, 0.96)], 0.0, 0.005, HURRIED_STANDBY))
@examples(20, shrink=False)
@given(histories())
def test_never_two_and_always_one_again(history: tuple[Any, ...]) -> None:
    """Clocks are hours apart and go 4 % too fast or too slow; requests and answers are delayed and lost, and applied
    after the process has given up waiting; processes freeze for longer than the lease, are killed and started again.
    As soon as that is over, somebody delivers, and nobody takes the lease from them."""
    seed, clocks, faults, slowness, events = history
    world = World(seed)
    world.faults, world.slowness = faults, slowness
    members = Members(world)
    for offset, rate in clocks:
        members.add(offset, rate)
    try:
        time = 0.0
        for after, what, whom, duration in events:
            time += after
            _plan(world, members, time, (what, whom, duration))
        world.run(FAULTY, members.check)
        world.faults, world.slowness = 0.0, 0.005
        _heal(members)
        world.run(FAULTY + 2.5 * LEASE, members.check)
        settled = len(members.changes)
        assert any(each.may_deliver for each in members.members), "nobody delivers"
        world.run(FAULTY + 5 * LEASE, members.check)
        assert any(each.may_deliver for each in members.members)
        assert len(members.changes) == settled, "nobody may take the lease from a process that is well"
    finally:
        members.close()


def test_the_lease_counts_from_before_the_claim_was_sent() -> None:
    """The answer may take long, and others may have seen the claim at once."""
    world = World(0)
    world.slowness = 1.0
    members = Members(world)
    members.add(100.0, 1.0)
    [member] = members.members
    claimed: list[float] = []
    until: list[float] = []

    def check() -> None:
        if world.record is not None:
            claimed.append(member.process.clock())
        if member.may_deliver:
            until.append(member.leadership.until)

    try:
        world.run(LEASE, check)
        assert until[0] < claimed[0] + LEASE - margin(LEASE)
    finally:
        members.close()


@pytest.mark.parametrize("lasts", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(2))
def test_an_outage_of_the_storage_is_no_takeover(lasts: float, seed: int) -> None:
    """However long it is: deliveries wait, and the process that was active renews its lease before any other takes it.
    Nobody else had a chance to see a sign of life."""
    world = World(seed)
    members = Members(world)
    for _ in range(3):
        members.add(0.0, 1.0)
    _plan(world, members, LEASE, ("storage down", 0, lasts * LEASE))
    try:
        world.run(3.5 * LEASE if lasts < 1 else (1 + lasts) * LEASE - 1, members.check)
        assert any(each.may_deliver for each in members.members) == (lasts < 1)
        world.run((3 + lasts) * LEASE, members.check)
        assert any(each.may_deliver for each in members.members)
        assert len(members.changes) == 1, members.changes
    finally:
        members.close()


@pytest.mark.parametrize("lasts", [0.5, 3.0])
def test_a_standby_says_soon_and_once_that_it_cannot_take_over(lasts: float) -> None:
    """In its log, not only in `/readyz`: within two thirds of a lease, and again when it can."""
    world = World(0)
    members = Members(world)
    members.add(0.0, 1.0)
    _plan(world, members, LEASE, ("storage down", 0, lasts * LEASE))
    said: list[tuple[float, str]] = []
    with mock.patch.object(lease_holder, "log") as log:
        for level in (log.info, log.warning):
            level.side_effect = lambda event, **fields: said.append((world.time, event))
        try:
            world.run(1.0, members.check)
            members.add(0.0, 1.0)  # the standby
            world.run((2 + lasts) * LEASE, members.check)
        finally:
            members.close()
    about = [(time, event) for time, event in said if "can take over" in event or "cannot take over" in event]
    assert [event for _, event in about] == ["standby: cannot take over at present", "standby: can take over again"]
    assert about[0][0] < 1.7 * LEASE
    assert (1 + lasts) * LEASE <= about[1][0] < (1.5 + lasts) * LEASE


def _plan(world: World, members: Members, time: float, event: tuple[str, int, float]) -> None:
    what, whom, duration = event

    def begin() -> None:
        index = members.active() if whom == ACTIVE else whom
        member = members.members[index]
        process = member.process
        if what in ("stop", "ask"):
            member.wants_it = what == "ask"
            process.loop.call_soon(member.stopping.set)
        elif what == "storage down":
            for each in members.members:
                each.process.cut_off = True
        elif what == "freeze":
            process.frozen = True
        elif what == "kill":
            process.killed = True
        else:
            process.cut_off = True
        world.at(min(time + duration, FAULTY - 0.001), lambda: end(index))

    def end(index: int) -> None:
        process = members.members[index].process
        if what == "kill" and process.killed:
            again = Process(world, f"{process.name}'", offset=process.offset, rate=process.rate)
            members.members[index] = Member(again)
        elif what == "storage down":
            for each in members.members:
                each.process.cut_off = False
        process.frozen = process.cut_off = False

    world.at(time, begin)


def _heal(members: Members) -> None:
    for member in members.members:
        member.process.frozen = member.process.cut_off = False
