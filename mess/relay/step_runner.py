"""Runs one step of a pipeline with everything that the pipeline does for it: holds, retries, counts, logs, gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mess.config.model import StepSpec
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, MessError, Refused
from mess.event import Event
from mess.relay.breaker import CircuitBreaker, Kind
from mess.relay.destinations import Destinations
from mess.relay.giving_up import GivingUp, KeepLetters
from mess.relay.group import Group, note
from mess.relay.retry import Facts, Verdict, asked_for, classify, judge, pause
from mess.relay.stopping import Halted, Stopping
from mess.relay.throttle import Throttle
from mess.steps.base import Step
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import StepMetrics

log = get_logger("mess.pipeline")

_TELL_AGAIN = 10.0  # seconds
_CHECK_SECONDS = 30.0
_CHECK_AGAIN = 5.0  # seconds


class Failure(NamedTuple):
    """Events that failed together, why, and the destination concerned; None if it concerns all of them."""

    error: DeliveryError
    events: list[Event]
    destination: str | None = None


_Attempt = tuple[Sequence[Event], Sequence[Failure], Sequence[Event], bool]
"""One attempt: the events that passed, those that failed, those that the step did not reach, and whether it probed the
step's sink."""


class StepResult(NamedTuple):
    """The result of a step: the events that continue, in order; those to be retried later, in groups; and those that it
    did not reach. All others are done."""

    passed: Sequence[Event]
    groups: Sequence[Group] = ()
    untried: Sequence[Event] = ()


class StepRunner:
    """A step at its place in a pipeline, where it is called `name`. `trouble` is what keeps it from working, or
    None."""

    def __init__(
        self,
        step: Step,
        spec: StepSpec,
        pipeline: str,
        *,
        name: str | None = None,
        stopping: Stopping,
        keep: KeepLetters,
        metrics: StepMetrics,
    ) -> None:
        self.step = step
        self.name = name or spec.name
        self.pipeline = pipeline
        self.max_events = max(1, step.max_events)
        self.concurrency = spec.concurrency
        self.lanes = spec.concurrency or step.lanes
        self._spec = spec
        self._stopping = stopping
        self._metrics = metrics
        self._giving_up = GivingUp(pipeline, self.name, spec.on_failure, keep, metrics)
        self._breaker = CircuitBreaker(spec.probe, stopping)
        self._destinations = step.destination and Destinations(step.destination, spec.probe, stopping)
        bounded = spec.rate_limit is not None or spec.concurrency is not None
        self._throttle = Throttle(spec.rate_limit, spec.concurrency, stopping) if bounded else None
        self._unchecked: str | None = None
        self._told = False
        self._told_at = self._named_at = -_TELL_AGAIN

    @property
    def trouble(self) -> str | None:
        """What keeps the step from working at present."""
        return self._down or self._unchecked

    @property
    def _down(self) -> str | None:
        return self._breaker.trouble or (self._destinations.trouble if self._destinations else None)

    async def check(self) -> None:
        """At startup, log whether the step can work, and if not why, until it can."""
        while (reason := await self._why_not()) is not None:
            if self._unchecked != reason:
                log.warning("step cannot work yet", pipeline=self.pipeline, step=self.name, error=reason)
            self._unchecked = reason
            await asyncio.sleep(_CHECK_AGAIN)
            if self._breaker.accepted:
                break
        self._unchecked = None

    async def _why_not(self) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self.step.check()
        except TimeoutError:
            return f"no answer within {_CHECK_SECONDS:g} s"
        except Exception as error:  # an error that a step did not foresee is no reason to end the relay either
            return str(classify(error, self.step.unexpected))
        return None

    async def process(self, events: Sequence[Event], group: Group | None = None) -> StepResult:
        """Put `events` through the step, waiting while its sink is down; `group` is their history if they have failed
        before, or have waited for their destination.

        Raises Halted if the relay stops meanwhile, Stopped if a refusal is to stop it, StateError if a dead letter
        cannot be stored.
        """
        carries = self.step.carries
        if carries is not None and not all(map(carries, events)):
            return await self._lead_past([event for event in events if carries(event)], events, group)
        destinations = self._destinations
        if destinations is None:
            return await self._deliver(events, group)
        if group is None:
            if len(events) == 1 and not destinations:
                return await self._deliver(events)
            go, waiting, later = destinations.divide(events)
            return await self._deliver(go, waiting=waiting, later=later) if go else StepResult((), waiting, later)
        breaker = group.breaker
        if breaker is not self._breaker and breaker.is_open and not group.probing:
            group.waiting = True
            return StepResult((), [group])
        return await self._deliver(events, group, probes=breaker if group.probing else None)

    async def _deliver(
        self,
        events: Sequence[Event],
        group: Group | None = None,
        *,
        probes: CircuitBreaker | None = None,
        waiting: Sequence[Group] = (),
        later: Sequence[Event] = (),
    ) -> StepResult:
        """Try events that may be tried now; `probes` is the breaker of the destination that they probe. Adds the
        `waiting` groups and the events to be tried `later` to the result."""
        known = group if group is not None and group.attempts else None
        attempt = await self._attempt(events, known)
        passed, failures, untried, _ = attempt
        if not failures:
            if known is not None:
                known.breaker.forget(known)
            if probes is not None:
                probes.probed()
            return StepResult(passed, waiting, [*untried, *later] if later else untried)
        going_on, left, retried = list(passed), [*untried, *later], list(waiting)
        held = await self._judge(events, attempt, known, retried, probes)
        # If others of them are retried later, these may be behind those and have to wait with them.
        while held and not retried:
            known = _joined(held)
            waiting_ids = {id(event) for event in known.events}
            known.events = [event for event in events if id(event) in waiting_ids]
            attempt = await self._attempt(known.events, known)
            passed, failures, untried, _ = attempt
            going_on += passed
            left = [*untried, *left]
            if failures:
                held = await self._judge(known.events, attempt, known, retried, None)
            else:
                known.breaker.forget(known)
                held = []
        kept = {id(event) for event in going_on}
        return StepResult([event for event in events if id(event) in kept], [*retried, *held], left)

    async def _lead_past(self, own: Sequence[Event], events: Sequence[Event], group: Group | None) -> StepResult:
        """Put `own` through the step, and pass on the others of `events` as if they had been processed."""
        self._metrics.passed_over(len(events) - len(own))
        outcome = await self.process(own, group) if own else StepResult(())
        ended = {id(event) for event in own}.difference(map(id, outcome.passed))
        return outcome._replace(passed=[event for event in events if id(event) not in ended])

    async def _attempt(self, events: Sequence[Event], group: Group | None) -> _Attempt:
        """Give the step these events as soon as it may have them."""
        if group is not None:
            self._metrics.retried(len(events))
        if self._throttle is None:
            probing = self._breaker.is_open and await self._breaker.acquire()
            return *await self._once(events), probing
        async with self._throttle.slot:
            probing = await self._turn_by_rate(self._throttle, len(events))
            return *await self._once(events), probing

    async def _turn_by_rate(self, throttle: Throttle, events: int) -> bool:
        """Wait until the rate allows this many events; returns whether they are a probe."""
        breaker = self._breaker
        while True:
            probing = breaker.is_open and await breaker.acquire()
            await throttle.wait(events)
            # The sink's state may have changed in the meantime.
            if not breaker.is_open or (probing and not breaker.firm):
                return probing
            if probing:
                breaker.probed()

    async def _once(self, events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Failure], Sequence[Event]]:
        self._stopping.check()
        failures: Sequence[Failure] = ()
        passed: Sequence[Event]
        untried: Sequence[Event] = ()
        fine = events
        began = time.perf_counter()
        try:
            passed = await self.step.process(events)
        except Halted:
            raise
        except BatchError as error:
            untried = error.untried
            failures = self._together(events, error.errors)
            failed = {id(event) for failure in failures for event in failure.events}.union(map(id, untried))
            fine = [e for e in events if id(e) not in failed]
            passed = fine if error.passed is None else error.passed
        except Exception as error:
            passed = fine = []
            failures = self._together(events, dict.fromkeys(range(len(events)), error))
        self._metrics.took(time.perf_counter() - began)
        if passed is not events and passed != events and not {id(e) for e in events}.issuperset(map(id, passed)):
            raise MessError(f"step {self.name} returned an event that it was not given; replace event.body instead")
        self._count(fine, len(passed), failures)
        return passed, failures, untried

    def _count(self, fine: Sequence[Event], passed: int, failures: Sequence[Failure]) -> None:
        metrics = self._metrics
        for error, events, _ in failures:
            if isinstance(error, EndpointDown):
                metrics.down(len(events))
            elif isinstance(error, Ambiguous):
                metrics.ambiguous(len(events))
            else:
                metrics.refused(len(events))
        if passed:
            metrics.delivered(passed)
        if len(fine) > passed:
            metrics.dropped(len(fine) - passed)
        if fine:
            self._breaker.accept(len(fine))
            if self._destinations:
                self._destinations.accept(fine)
            if self._told and not self._down:
                self._told = False
                log.info("step works again", pipeline=self.pipeline, step=self.name)

    async def _judge(
        self,
        events: Sequence[Event],
        attempt: _Attempt,
        known: Group | None,
        retried: list[Group],
        probes: CircuitBreaker | None,
    ) -> list[Group]:
        """Apply the policy to the failed events; returns those that wait here until the sink is back."""
        held: list[Group] = []
        given_up: list[Group] = []
        retry = self._spec.retry
        _, failures, untried, probing_sink = attempt
        worked = sum(len(failure.events) for failure in failures) + len(untried) < len(events)
        if known is not None:
            known.breaker.forget(known)
        for error, failing, destination in failures:
            breaker = self._breaker_for(error, destination)
            accepted_before = known is not None and breaker is known.breaker and breaker.accepted > known.accepted
            group = note(known, error, failing, breaker, destination)
            if known is None and isinstance(error, Ambiguous):
                self._doubt(breaker)
            # A sink whose destinations all fail is suspect as a whole.
            all_in_doubt = isinstance(error, Ambiguous) and self._breaker.suspect
            judged = self._breaker if all_in_doubt else breaker
            probing = probing_sink if judged is self._breaker else judged is probes
            facts = self._facts(group, witness=accepted_before, worked=worked, probing=probing)
            verdict = judge(error, facts, retry)
            if verdict in (Verdict.HOLD, Verdict.ROTATE):
                self._hold(judged, group, probing)
            if verdict is Verdict.HOLD:
                group.waiting = judged is not self._breaker
                (retried if group.waiting else held).append(group)
            elif verdict in (Verdict.RETRY, Verdict.ROTATE):
                if verdict is Verdict.RETRY and known is not None:
                    if not group.witnessed:
                        breaker.complain(error)
                        self._tell(group)
                    elif not group.named:
                        group.named = self._name(group)
                group.due = time.monotonic() + max(pause(retry, group.attempts), asked_for(self._spec.probe, error))
                if verdict is Verdict.ROTATE:  # if nothing else is there to probe, it gets the next turn as well
                    group.due = min(group.due, judged.probes_at)
                retried.append(group)
            else:
                breaker.forget(group)
                if isinstance(error, Refused) and not error.local:
                    self._refused(destination, alone=verdict is Verdict.GIVE_UP and not worked)
                if verdict is Verdict.SPLIT:
                    retried += group.halves()
                else:
                    given_up.append(group)
        if probing_sink:
            self._breaker.probed()
        if probes is not None:
            probes.probed()
        if given_up:
            await self._giving_up.give_up(given_up)
        return held

    def _breaker_for(self, error: DeliveryError, destination: str | None) -> CircuitBreaker:
        if destination is None or self._destinations is None or isinstance(error, Refused):
            return self._breaker
        return self._destinations.breaker(destination)

    def _facts(self, group: Group, *, witness: bool, worked: bool, probing: bool) -> Facts:
        now, breaker, kind = time.monotonic(), group.breaker, Kind.of(group.error)
        refusing = self._breaker.refusing and not worked and self._spec.on_failure == "dead_letter"
        return Facts(
            several=len(group.events) > 1,
            failing_for=now - group.failing_since,
            probing=probing,
            counted=group.counted,
            counted_age=now - group.counted_since,
            age=now - group.since,
            witness=witness,
            witnessed=group.witnessed,
            may_be_cause=kind is Kind.SUSPECT,
            outage=breaker.outage(kind),
            suspect=breaker.suspect or breaker.is_open or self._breaker.suspect,
            refusing=refusing,
        )

    def _doubt(self, breaker: CircuitBreaker) -> None:
        """If all destinations of a sink fail one after another, the sink is suspect as a whole."""
        if breaker.doubt() == 1 and breaker is not self._breaker:
            self._breaker.doubt()

    def _refused(self, destination: str | None, *, alone: bool) -> None:
        if alone:
            self._breaker.refuse()
        else:
            self._breaker.answer()
        if destination is not None and self._destinations:
            self._destinations.answered(destination)

    def _hold(self, breaker: CircuitBreaker, group: Group, probing: bool) -> None:
        error = group.error
        if isinstance(error, Refused):
            text = (
                f"it has refused {self._spec.probe.refusing_after} different events in a row; deliveries pause: {error}"
            )
            if not breaker.is_open:
                log.error("step refuses everything", pipeline=self.pipeline, step=self.name, error=text)
                self._told, self._told_at = True, time.monotonic()
            error = Refused(text)
        breaker.open(error, probing=probing)
        self._tell(group, error)

    def _tell(self, group: Group, error: DeliveryError | None = None) -> None:
        # Do not log every failure of an endpoint that fails now and then; the metrics count them all.
        said: dict[str, Any] = {
            "pipeline": self.pipeline,
            "step": self.name,
            "error": str(error or group.error),
            "first_id": group.events[0].id,
            "count": len(group.events),
        }
        if time.monotonic() - self._told_at >= _TELL_AGAIN:
            self._told, self._told_at = True, time.monotonic()
            log.warning("step fails, retrying", **said)
        else:
            log.debug("step still fails", **said)

    def _name(self, group: Group) -> bool:
        """Log which event fails although others are delivered; returns whether it is time to do so."""
        if time.monotonic() - self._named_at < _TELL_AGAIN:
            return False
        self._named_at = time.monotonic()
        said = {"pipeline": self.pipeline, "step": self.name, "error": str(group.error)}
        namespace, ids = str(group.events[0].namespace), [event.id for event in group.events]
        if len(ids) == 1:
            log.warning("event fails while others are delivered, retrying", **said, id=ids[0], namespace=namespace)
        else:
            log.warning(
                "batch fails while others are delivered, retrying",
                **said,
                count=len(ids),
                first_id=ids[0],
                last_id=ids[-1],
            )
        return True

    def _together(self, events: Sequence[Event], errors: Mapping[int, Exception]) -> list[Failure]:
        """The failed events in order, grouped by those that failed together."""
        found: dict[Any, Failure] = {}
        of = None if self._destinations is None else self._destinations.of
        for index, cause in sorted(errors.items()):
            error = classify(cause, self.step.unexpected)
            shared = of is None or (isinstance(error, EndpointDown) and error.shared)
            destination = None if shared or of is None else of(events[index])
            # A problem of the sink is one failure, however many events report it; a refusal concerns each event
            # separately.
            alike = id(cause) if isinstance(error, Refused) else (Kind.of(error), str(error))
            found.setdefault((alike, destination), Failure(error, [], destination)).events.append(events[index])
        return list(found.values())


def _joined(groups: Iterable[Group]) -> Group:
    """Groups that wait here together, as one group that is retried."""
    first, *others = groups
    joined = first
    for other in others:
        joined = joined.joined(other)
    if others:
        for group in (first, *others):
            group.breaker.forget(group)
        joined.breaker.fails(joined, Kind.of(joined.error))
    return joined
