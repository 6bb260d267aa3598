"""What happens to events that failed in a step: carries out the verdicts of `mess.relay.retry`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from mess.config.model import StepSpec
from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused
from mess.event import Event
from mess.relay.breaker import PROBED, CircuitBreaker, Result
from mess.relay.destinations import Destinations
from mess.relay.evidence import Kind
from mess.relay.failure_log import FailureLog
from mess.relay.retry import Facts, Verdict, asked_for, bounded, judge, pause
from mess.relay.retry_group import RetryGroup, note
from mess.relay.step_call import Failure

GiveUp = Callable[[Sequence[RetryGroup]], Awaitable[None]]
"""Handles events that are given up. May raise StateError, or Stopped to end the relay."""


class Leaving(Protocol):
    """For deliveries that have an end: it takes the events that would otherwise wait until their sink is back."""

    def leave(self, group: RetryGroup, *, sink: bool) -> None:
        """Leave these events as they are: their destination is down, or the whole `sink`."""

    def still_due(self, events: Sequence[Event]) -> Sequence[Event]:
        """Of `events`, return those to be delivered, and leave those behind an event with the same key that was
        left."""


class Fate(NamedTuple):
    """Events that failed and are tried again: those that wait in the step until the sink is back, and those that the
    lane retries later. All others that failed are done."""

    held: list[RetryGroup]
    retried: list[RetryGroup]


class Failures:
    """Applies a step's retry policy to events that have failed in it."""

    def __init__(
        self,
        spec: StepSpec,
        breaker: CircuitBreaker,
        destinations: Destinations | None,
        *,
        give_up: GiveUp,
        leaving: Leaving | None,
        log: FailureLog,
    ) -> None:
        self._spec = spec
        self._breaker = breaker
        self._destinations = destinations
        self._give_up = give_up
        self._leaving = leaving
        self._log = log

    async def handle(
        self, failures: Sequence[Failure], known: RetryGroup | None, *, alone: bool, probed: Collection[CircuitBreaker]
    ) -> Fate:
        """Handle the failures of one attempt.

        `known` is the previous group of the events if they had failed before; `alone` is whether no other events of the
        attempt were delivered; `probed` are the breakers that it probed.

        Raises Stopped if a refusal is to stop the relay, StateError if a dead letter cannot be stored.
        """
        fate = Fate([], [])
        given_up: list[RetryGroup] = []
        for failure in failures:
            error, events, destination = failure
            breaker = self._breaker_for(error, destination)
            group = note(known, error, events, breaker, destination)
            # A sink whose destinations all fail is suspect as a whole.
            whole = isinstance(error, Ambiguous) and self._breaker.evidence.suspect
            judged = self._breaker if whole else breaker
            verdict = self._verdict(group, alone=alone, probing=judged in probed)
            match verdict:
                case Verdict.HOLD:
                    self._hold(judged, group, verdict, probing=judged in probed)
                    self._wait(group, judged, fate)
                case Verdict.ROTATE:
                    self._hold(judged, group, verdict, probing=judged in probed)
                    group.due = min(self._due(group), judged.probes_at)  # if nothing else is there to probe
                    fate.retried.append(group)
                case Verdict.RETRY:
                    if known is not None:
                        self._warn(group)
                    group.due = self._due(group)
                    fate.retried.append(group)
                case Verdict.SPLIT:
                    self._settle(group, verdict, alone=alone)
                    fate.retried.extend(group.halves())
                case Verdict.GIVE_UP:
                    self._settle(group, verdict, alone=alone)
                    given_up.append(group)
        for breaker in probed:
            breaker.report(PROBED)
        if given_up:
            await self._give_up(given_up)
        return fate

    def _breaker_for(self, error: DeliveryError, destination: str | None) -> CircuitBreaker:
        if destination is None or self._destinations is None or isinstance(error, Refused):
            return self._breaker
        return self._destinations.breaker(destination)

    def _verdict(self, group: RetryGroup, *, alone: bool, probing: bool) -> Verdict:
        now, error, sink, evidence = time.monotonic(), group.error, self._breaker, group.breaker.evidence
        kind = Kind.of(error)
        several = len(group.events) > 1
        facts = Facts(
            several=several,
            failing_for=now - group.failing_since,
            probing=probing,
            counted=group.counted,
            counted_age=now - group.counted_since,
            age=now - group.since,
            witness=group.witness,
            witnessed=group.witnessed,
            may_be_cause=kind is Kind.SUSPECT,
            # Dead letters are events that may be at fault: many of them do not show that others would fail, too.
            outage=evidence.outage(kind) and (self._leaving is None or evidence.unbroken),
            suspect=evidence.suspect or group.breaker.state != "closed" or sink.evidence.suspect,
            refusing=sink.evidence.refusing
            and alone
            and self._spec.on_failure == "dead_letter"
            and self._leaving is None,
        )
        verdict = judge(error, facts, self._spec.retry)
        if self._leaving is None:
            return verdict
        asked = asked_for(self._spec.probe, error) > 0
        return bounded(verdict, self._spec.retry, attempts=group.attempts, several=several, asked=asked)

    def _hold(self, judged: CircuitBreaker, group: RetryGroup, verdict: Verdict, *, probing: bool) -> None:
        error = group.error
        if isinstance(error, Refused):
            text = (
                f"it has refused {self._spec.probe.refusing_after} different events in a row; deliveries pause: {error}"
            )
            error = Refused(text, response=error.response)
            if judged.state == "closed":
                self._log.refuses_everything(error)
        judged.report(Result(error=error, verdict=verdict, probe=probing))
        if self._leaving is None:
            self._log.fails(group, error)

    def _wait(self, group: RetryGroup, judged: CircuitBreaker, fate: Fate) -> None:
        sink = judged is self._breaker
        if self._leaving is not None:
            group.over()
            self._leaving.leave(group, sink=sink)
        elif sink:
            fate.held.append(group)
        else:
            group.waiting = True
            fate.retried.append(group)

    def _warn(self, group: RetryGroup) -> None:
        if group.witnessed:
            self._log.fails_alone(group)
        else:
            group.breaker.report(Result(error=group.error, verdict=Verdict.RETRY))
            self._log.fails(group, group.error)

    def _due(self, group: RetryGroup) -> float:
        wait = max(pause(self._spec.retry, group.attempts), asked_for(self._spec.probe, group.error))
        return time.monotonic() + wait

    def _settle(self, group: RetryGroup, verdict: Verdict, *, alone: bool) -> None:
        group.over()
        error = group.error
        if isinstance(error, EndpointDown | Ambiguous) or (isinstance(error, Refused) and error.local):
            return
        self._breaker.report(Result(error=error, verdict=verdict, alone=alone))
        if group.destination is not None and self._destinations is not None:
            self._destinations.report(group.destination, Result(error=error, verdict=verdict))
