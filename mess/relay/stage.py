"""One step of a pipeline with all that the pipeline does for it: holds, retries, counts, logs, gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from mess.config.model import StepSpec
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, MessError, Refused, Stopped
from mess.event import Event
from mess.relay.endpoint import Endpoint
from mess.relay.group import Group, note
from mess.relay.retry import Facts, Verdict, asked_for, classify, judge, pause
from mess.relay.stopping import Halted, Stopping
from mess.relay.throttle import Throttle
from mess.state.store import DeadLetter
from mess.step import Step
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import StepMetrics

log = get_logger("mess.pipeline")

_TELL_AGAIN = 10.0  # seconds
_CHECK_SECONDS = 30.0
_CHECK_AGAIN = 5.0  # seconds

Failure = tuple[DeliveryError, list[Event]]
"""Events that failed together, and why."""
KeepLetters = Callable[[Sequence[DeadLetter]], Awaitable[None]]


class Outcome(NamedTuple):
    """What a stage made of events: those that go on, in their order; those to be tried again later, in groups; and
    those that it did not get to. All others are done with."""

    passed: Sequence[Event]
    groups: Sequence[Group] = ()
    untried: Sequence[Event] = ()


class Stage:
    """A step in its place in a pipeline, called `name` there. `trouble` says what keeps it from its work, None while it
    does it."""

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
        self._keep = keep
        self._metrics = metrics
        self._endpoint = Endpoint(spec.probe, stopping)
        bounded = spec.rate_limit is not None or spec.concurrency is not None
        self._throttle = Throttle(spec.rate_limit, spec.concurrency, stopping) if bounded else None
        self._unchecked: str | None = None
        self._told = False
        self._told_at = -_TELL_AGAIN

    @property
    def trouble(self) -> str | None:
        """What keeps the step from its work at present."""
        return self._endpoint.trouble or self._unchecked

    async def check(self) -> None:
        """Say at the start whether the step can do its work, and why not, until it can."""
        while (reason := await self._why_not()) is not None:
            if self._unchecked != reason:
                log.warning("step cannot do its work yet", pipeline=self.pipeline, step=self.name, error=reason)
            self._unchecked = reason
            await asyncio.sleep(_CHECK_AGAIN)
            if self._endpoint.accepted:
                break
        self._unchecked = None

    async def _why_not(self) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self.step.check()
        except TimeoutError:
            return f"no answer within {_CHECK_SECONDS:g} s"
        except Exception as error:  # what a step did not foresee is no reason to end the relay either
            return str(classify(error, self.step.unexpected))
        return None

    async def process(self, events: Sequence[Event], group: Group | None = None) -> Outcome:
        """Put `events` through the step, waiting for as long as its sink is down; `group` is what is known of them when
        they have failed before.

        Raises Halted when the relay stops meanwhile, Stopped when a refusal is to stop it, StateError when a dead
        letter cannot be kept.
        """
        carries = self.step.carries
        if carries is not None and not all(map(carries, events)):
            return await self._lead_past([event for event in events if carries(event)], events, group)
        passed, failures, untried, probing = await self._attempt(events, group)
        if not failures:
            return Outcome(passed, (), untried)
        going_on, later, parked = list(passed), list(untried), list[Group]()
        worked = _worked(events, failures, untried)
        held = await self._judge(failures, group, parked, probing=probing, worked=worked)
        # Where others of them are tried again later, these may stand behind those and have to wait with them.
        while held is not None and not parked:
            waiting = {id(event) for event in held.events}
            held.events = [event for event in events if id(event) in waiting]
            passed, failures, untried, probing = await self._attempt(held.events, held)
            going_on += passed
            later = [*untried, *later]
            worked = _worked(held.events, failures, untried)
            held = await self._judge(failures, held, parked, probing=probing, worked=worked)
        if held is not None:
            parked.append(held)
        kept = {id(event) for event in going_on}
        return Outcome([event for event in events if id(event) in kept], parked, later)

    async def _lead_past(self, own: Sequence[Event], events: Sequence[Event], group: Group | None) -> Outcome:
        """Put `own` through the step, and hand on the others of `events` as if they had been."""
        self._metrics.passed_over(len(events) - len(own))
        outcome = await self.process(own, group) if own else Outcome(())
        ended = {id(event) for event in own}.difference(map(id, outcome.passed))
        return outcome._replace(passed=[event for event in events if id(event) not in ended])

    async def _attempt(
        self, events: Sequence[Event], group: Group | None
    ) -> tuple[Sequence[Event], Sequence[Failure], Sequence[Event], bool]:
        """The events that passed, those that failed, those that were not tried, and whether this was a probe."""
        if group is not None:
            self._metrics.retried(len(events))
        if self._throttle is None:
            probing = self._endpoint.held and await self._endpoint.turn()
            return *await self._once(events), probing
        async with self._throttle.slot:
            probing = await self._turn_by_rate(self._throttle, len(events))
            return *await self._once(events), probing

    async def _turn_by_rate(self, throttle: Throttle, events: int) -> bool:
        """Wait until so many events may be given; whether as a probe."""
        endpoint = self._endpoint
        while True:
            probing = endpoint.held and await endpoint.turn()
            await throttle.wait(events)
            # Others have had their answers meanwhile.
            if not endpoint.held or (probing and not endpoint.firm):
                return probing
            if probing:
                endpoint.probed()

    async def _once(self, events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Failure], Sequence[Event]]:
        self._stopping.check()
        failures: Sequence[Failure] = ()
        passed: Sequence[Event]
        untried: Sequence[Event] = ()
        began = time.perf_counter()
        try:
            passed = await self.step.process(events)
        except Halted:
            raise
        except BatchError as error:
            untried = error.untried
            failures = _together(events, error.errors, self.step.unexpected)
            failed = {id(event) for _, failing in failures for event in failing}.union(map(id, untried))
            passed = [e for e in events if id(e) not in failed] if error.passed is None else error.passed
        except Exception as error:
            passed = []
            failures = [(classify(error, self.step.unexpected), list(events))]
        self._metrics.took(time.perf_counter() - began)
        if passed is not events and passed != events and not {id(e) for e in events}.issuperset(map(id, passed)):
            raise MessError(f"step {self.name} returned an event that it was not given; replace event.body instead")
        self._count(len(events) - len(untried), len(passed), failures)
        return passed, failures, untried

    def _count(self, given: int, passed: int, failures: Sequence[Failure]) -> None:
        metrics = self._metrics
        for error, events in failures:
            given -= len(events)
            if isinstance(error, EndpointDown):
                metrics.down(len(events))
            elif isinstance(error, Ambiguous):
                metrics.ambiguous(len(events))
            else:
                metrics.refused(len(events))
        if passed:
            metrics.delivered(passed)
        if given > passed:
            metrics.dropped(given - passed)
        if given:
            self._endpoint.accept(given)
            if self._told and self._endpoint.trouble is None:
                self._told = False
                log.info("step works again", pipeline=self.pipeline, step=self.name)

    async def _judge(
        self, failures: Sequence[Failure], known: Group | None, parked: list[Group], *, probing: bool, worked: bool
    ) -> Group | None:
        """Do with the failed events what the policy says; returns those that wait until the sink is back.

        `probing` and `worked` tell that the attempt was a probe, and that the step did its work on others in it.
        """
        held: Group | None = None
        given_up: list[Group] = []
        endpoint, retry = self._endpoint, self._spec.retry
        for error, events in failures:
            group = note(known, error, events, endpoint.accepted)
            witness = known is not None and endpoint.accepted > known.accepted
            if known is None and isinstance(error, Ambiguous):
                endpoint.doubt()
            facts = Facts(
                several=len(events) > 1,
                counted=group.counted,
                age=time.monotonic() - group.since,
                witness=witness,
                suspect=endpoint.suspect or endpoint.held,
                refusing=endpoint.refusing and not worked and self._spec.on_failure == "dead_letter",
            )
            verdict = judge(error, facts, retry)
            if verdict is Verdict.HOLD:
                self._hold(error, probing)
                held = group if held is None else held.joined(group)
            elif verdict is Verdict.PARK:
                group.due = time.monotonic() + max(pause(retry, group.attempts), asked_for(self._spec.probe, error))
                parked.append(group)
                if known is not None and not witness:
                    endpoint.complain(error)
                    self._tell(error)
            elif verdict is Verdict.SPLIT:
                endpoint.answer()
                parked += group.halves()
            else:
                if worked:
                    endpoint.answer()
                else:
                    endpoint.refuse()
                given_up.append(group)
        if probing:
            endpoint.probed()
        if given_up:
            await self._give_up(given_up)
        return held

    def _hold(self, error: DeliveryError, probing: bool) -> None:
        if isinstance(error, Refused):
            text = f"it has refused {self._spec.probe.refusing_after} different events in a row, so it is held: {error}"
            if not self._endpoint.held:
                log.error("step refuses everything", pipeline=self.pipeline, step=self.name, error=text)
                self._told, self._told_at = True, time.monotonic()
            error = Refused(text)
        self._endpoint.hold(error, probing=probing)
        self._tell(error)

    def _tell(self, error: DeliveryError) -> None:
        # Not a line for each failure of an endpoint that fails now and then; the metrics count them all.
        if time.monotonic() - self._told_at >= _TELL_AGAIN:
            self._told, self._told_at = True, time.monotonic()
            log.warning("step fails, retrying", pipeline=self.pipeline, step=self.name, error=str(error))
        else:
            log.debug("step still fails", pipeline=self.pipeline, step=self.name, error=str(error))

    async def _give_up(self, groups: list[Group]) -> None:
        first = groups[0]
        if self._spec.on_failure == "stop":
            raise Stopped(
                f"step {self.name} of pipeline {self.pipeline} refused event {first.events[0].id} of "
                f"{first.events[0].namespace}: {first.error}. Here it stops, as `on_failure: stop` asks, and here it "
                "begins when it is started again. To go on, mend what refuses the event, or go past it with "
                "`on_failure: dead_letter` (`mess dead-letters replay` delivers it later) or `skip`"
            )
        events = [(event, group) for group in groups for event in group.events]
        if self._spec.on_failure == "dead_letter":
            await self._keep([self._letter(event, group) for event, group in events])
            self._metrics.dead_lettered(len(events))
        log.error(
            "events given up",
            pipeline=self.pipeline,
            step=self.name,
            count=len(events),
            on_failure=self._spec.on_failure,
            first_id=first.events[0].id,
            error=str(first.error),
        )

    def _letter(self, event: Event, group: Group) -> DeadLetter:
        return DeadLetter(
            id=event.id,
            pipeline=self.pipeline,
            step=self.name,
            namespace=event.namespace,
            operation=event.operation,
            key=event.key,
            reason=str(group.error),
            error=type(group.error).__name__,
            attempts=group.attempts,
            time=datetime.now(timezone.utc),
            event=event.change,
            body=event.body,
            history=tuple(group.history),
        )


def _worked(events: Sequence[Event], failures: Sequence[Failure], untried: Sequence[Event]) -> bool:
    return sum(len(failed) for _, failed in failures) + len(untried) < len(events)


def _together(
    events: Sequence[Event], errors: Mapping[int, Exception], unexpected: type[Ambiguous] | type[Refused]
) -> list[Failure]:
    """The failed events in their order, those that failed together in one."""
    found: dict[Any, Failure] = {}
    for index, cause in sorted(errors.items()):
        error = classify(cause, unexpected)
        # That the sink is in trouble is one failure, however many events tell of it; a refusal is each event's own.
        alike = id(cause) if isinstance(error, Refused) else (type(error), str(error))
        found.setdefault(alike, (error, []))[1].append(events[index])
    return list(found.values())
