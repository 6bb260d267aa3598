"""Runs one step of a pipeline: lets events wait while its sink is down, calls the step, and handles what failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from mess.config.model import StepSpec
from mess.event import Event
from mess.leadership import ALWAYS, Leadership
from mess.relay.breaker import PROBED, CircuitBreaker, Result
from mess.relay.destinations import Destinations
from mess.relay.failure_log import FailureLog
from mess.relay.failures import Failures, GiveUp, Leaving
from mess.relay.gate import Gate
from mess.relay.ha.leading import leading
from mess.relay.obstacle import Obstacle
from mess.relay.retry_group import RetryGroup, joined
from mess.relay.step_call import Called, Process, call, why_not
from mess.relay.step_result import StepResult
from mess.relay.stopping import Halted, Stopping
from mess.relay.throttle import Throttle
from mess.steps.base import Step
from mess.telemetry.observer import StepObserver

_CHECK_AGAIN = 5.0  # seconds


class StepRunner:
    """A step at its place in a pipeline, where it is called `name`. `trouble` is what keeps it from working, or None.
    While its `gate` is closed, it is paused: its deliveries wait. They also wait while the process may not deliver
    according to `leadership`, which the step itself obeys as well.

    Events that `carries` does not accept bypass the step. `process` is called in place of the step's own. With
    `leaving`, events never wait for a sink that is down.
    """

    def __init__(
        self,
        step: Step,
        spec: StepSpec,
        pipeline: str,
        *,
        name: str,
        stopping: Stopping,
        give_up: GiveUp,
        observer: StepObserver,
        carries: Callable[[Event], bool] | None = None,
        leaving: Leaving | None = None,
        process: Process | None = None,
        leadership: Leadership = ALWAYS,
    ) -> None:
        self.step = step
        step.leadership = self._leadership = leadership
        self.name = name
        self.pipeline = pipeline
        self.max_events = max(1, step.max_events)
        self.concurrency = spec.concurrency
        self.lanes = spec.concurrency or step.lanes
        self._carries = self._carried = carries or step.carries
        self._stopping = stopping
        self._observer = observer
        self._leaving = leaving
        self._process = process
        self._log = FailureLog(pipeline, name)
        self._breaker = breaker = CircuitBreaker(spec.probe, stopping, changed=observer.breaker_changed)
        self._destinations = step.destination and Destinations(
            step.destination, spec.probe, stopping, whole=breaker.evidence, changed=observer.breaker_changed
        )
        self._on_give_up = give_up
        self._failures = Failures(
            spec, breaker, self._destinations, give_up=self._give_up, leaving=leaving, log=self._log
        )
        bounded = spec.rate_limit is not None or spec.concurrency is not None
        self._throttle = Throttle(spec.rate_limit, spec.concurrency, stopping) if bounded else None
        self._unchecked: str | None = None
        self.gate = Gate()

    def bypass(self, unless: Callable[[Event], bool] | None) -> None:
        """From now on, events that `unless` does not accept bypass the step, too."""
        carried = self._carried
        if unless is None or carried is None:
            self._carries = carried if unless is None else unless
        else:
            self._carries = lambda event: unless(event) and carried(event)

    @property
    def trouble(self) -> str | None:
        """What keeps the step from working at present."""
        return self._down or self._unchecked

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps the step from making progress at present, apart from pauses; None if nothing is known."""
        if (found := self._breaker.obstacle) is not None:
            return found
        if self._destinations and (found := self._destinations.obstacle) is not None:
            return found
        if self._unchecked is not None:
            return Obstacle(f"it cannot work yet: {self._unchecked}")
        if self._throttle is not None and self._throttle.delay > 0:
            return Obstacle("its rate_limit", next_attempt=time.monotonic() + self._throttle.delay)
        return None

    @property
    def _down(self) -> str | None:
        return self._breaker.trouble or (self._destinations.trouble if self._destinations else None)

    async def check(self) -> None:
        """At startup, log whether the step can work, and if not why, until it can."""
        while (reason := await why_not(self.step)) is not None:
            if self._unchecked != reason:
                self._log.cannot_work_yet(reason)
            self._unchecked = reason
            await asyncio.sleep(_CHECK_AGAIN)
            if self._breaker.evidence.accepted:
                break
        self._unchecked = None

    def retire(self) -> None:
        """Its pipeline was replaced: what was known of the sink is over."""
        self._breaker.retire()
        if self._destinations is not None:
            self._destinations.retire()

    async def process(self, events: Sequence[Event], group: RetryGroup | None = None) -> StepResult:
        """Put `events` through the step, waiting while its sink is down; `group` is their history if they have failed
        before, or have waited for their destination.

        Raises Halted if the relay stops meanwhile, Stopped if a refusal is to stop it, StateError if a dead letter
        cannot be stored.
        """
        if self._leaving is not None and not (events := self._leaving.still_due(events)):
            if group is not None:
                group.over()
            return StepResult(())
        carries = self._carries
        if carries is not None and not all(map(carries, events)):
            return await self._bypass(list(filter(carries, events)), events, group)
        if self._destinations is None:
            return await self._deliver(events, group)
        if group is None:
            if len(events) == 1 and not self._destinations:
                return await self._deliver(events)
            go, waiting, later = self._destinations.divide(events)
            waiting = self._waiting(waiting)
            return await self._deliver(go, waiting=waiting, later=later) if go else StepResult((), waiting, later)
        breaker = group.breaker
        if breaker is not self._breaker and breaker.state != "closed" and not group.probing:
            return StepResult((), self._waiting([group]))
        return await self._deliver(events, group, probes=(breaker,) if group.probing else ())

    async def _bypass(self, own: Sequence[Event], events: Sequence[Event], group: RetryGroup | None) -> StepResult:
        """Put `own` through the step; the others of `events` bypass it."""
        found = await self.process(own, group) if own else StepResult(())
        result = found.beside(own, events)
        self._observer.bypassed(len(result.passed) - len(found.passed))
        return result

    def _waiting(self, groups: list[RetryGroup]) -> list[RetryGroup]:
        """Of groups whose destinations are down, those that wait for them."""
        if self._leaving is None:
            for group in groups:
                group.waiting = True
            return groups
        for group in groups:
            self._leaving.leave(group, sink=False)
        return []

    async def _deliver(
        self,
        events: Sequence[Event],
        group: RetryGroup | None = None,
        *,
        probes: Collection[CircuitBreaker] = (),
        waiting: Sequence[RetryGroup] = (),
        later: Sequence[Event] = (),
    ) -> StepResult:
        """Try events that may be tried now; `probes` are the breakers of destinations that they probe. Adds the
        `waiting` groups and the events to be tried `later` to the result."""
        known = group if group is not None and group.attempts else None
        (passed, _, failures, untried), held, retried = await self._attempt(events, known, probes)
        if not failures:
            return StepResult(passed, waiting, [*untried, *later] if later else untried)
        going_on, left, retried = list(passed), [*untried, *later], [*waiting, *retried]
        # If others of them are retried later, these may be behind those and have to wait with them.
        while held and not retried:
            known = joined(held)
            waiting_ids = {id(event) for event in known.events}
            known.events = [event for event in events if id(event) in waiting_ids]
            try:
                (passed, _, failures, untried), held, retried = await self._attempt(known.events, known)
            except (Halted, asyncio.CancelledError):
                if not (going_on and self._stopping.is_over()):
                    known.over()
                    raise
                held = [known]
                break  # what has passed is not delivered again
            going_on += passed
            left = [*untried, *left]
        kept = {id(event) for event in going_on}
        return StepResult([event for event in events if id(event) in kept], [*retried, *held], left)

    async def _attempt(
        self, events: Sequence[Event], known: RetryGroup | None, probes: Collection[CircuitBreaker] = ()
    ) -> tuple[Called, Sequence[RetryGroup], Sequence[RetryGroup]]:
        """Give the step these events as soon as it may have them; returns the result, and of the events that failed the
        groups that wait here and those that are retried later."""
        if known is not None:
            self._observer.retried(events)
        if self._throttle is None:
            probing = self._breaker.state != "closed" and await self._breaker.acquire()
            if self.gate.closed or self._leadership.lapsed:
                probing = await self._allowed(0, probing=probing)
            called = await self._call(events, probing=probing)
        else:
            async with self._throttle.slot:
                probing = await self._throttle.turn(self._breaker, len(events))
                if self.gate.closed or self._leadership.lapsed:
                    probing = await self._allowed(len(events), probing=probing)
                called = await self._call(events, probing=probing)
        probed = (self._breaker, *probes) if probing else probes
        if called.failures:
            alone = sum(len(failure.events) for failure in called.failures) + len(called.untried) == len(events)
            held, retried = await self._failures.handle(called.failures, known, alone=alone, probed=probed)
            return called, held, retried
        if known is not None:
            known.over()
        for breaker in probed:
            breaker.report(PROBED)
        return called, (), ()

    async def _allowed(self, limited: int, *, probing: bool) -> bool:
        """Wait while the step is paused or the process may not deliver, and again for the breaker and the rate of
        `limited` events; returns whether the caller is the probe."""
        while self.gate.closed or self._leadership.lapsed:
            if probing:  # another may have its turn; it will wait here, too
                self._breaker.report(PROBED)
            await self.gate.opened(self._stopping)
            await leading(self._leadership, self._stopping)
            if self._throttle is not None:
                probing = await self._throttle.turn(self._breaker, limited)
            else:
                probing = self._breaker.state != "closed" and await self._breaker.acquire()
        return probing

    async def _give_up(self, groups: Sequence[RetryGroup]) -> None:
        # The answer may have come after another process took over and delivered the events.
        await leading(self._leadership, self._stopping)
        await self._on_give_up(groups)

    async def _call(self, events: Sequence[Event], *, probing: bool) -> Called:
        self._stopping.check()
        try:
            called = await call(self.step, self.name, events, self._observer, self._process)
        except BaseException:
            if probing:  # the lane is to end, perhaps alone: let another one probe
                self._breaker.report(PROBED)
            raise
        if accepted := called.accepted:
            self._breaker.report(Result(accepted=len(accepted)))
            if self._destinations:
                self._destinations.accept(accepted)
            if self._log.said and not self._down:
                self._log.works()
        return called
