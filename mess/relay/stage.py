"""One step of a pipeline with all that the pipeline does for it: retries, counts, logs, gives up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from mess.config.model import StepSpec
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, MessError, Stopped
from mess.event import Event
from mess.relay.retry import Verdict, classify, judge, pause
from mess.relay.stopping import Halted, Stopping
from mess.state.store import DeadLetter
from mess.step import Step
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import StepMetrics

log = get_logger("mess.pipeline")

_TELL_AGAIN = 10.0  # seconds

KeepLetters = Callable[[Sequence[DeadLetter]], Awaitable[None]]


@dataclass(slots=True)
class Failure:
    """An event that a step failed on, and why."""

    event: Event
    error: DeliveryError


class Stage:
    """A step in its place in a pipeline.

    `trouble` says what keeps the step from its work at present, None while it does it.
    """

    def __init__(
        self,
        step: Step,
        spec: StepSpec,
        pipeline: str,
        *,
        stopping: Stopping,
        keep: KeepLetters,
        metrics: StepMetrics,
    ) -> None:
        self.step = step
        self.name = spec.name
        self.max_events = max(1, step.max_events)
        self.trouble: str | None = None
        self._accepted = 0
        self._told = False
        self._told_at = -_TELL_AGAIN
        self._spec = spec
        self.pipeline = pipeline
        self._stopping = stopping
        self._keep = keep
        self._metrics = metrics

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        """Put `events` through the step, for as long as it takes; returns those that go on, in their order.

        Raises Halted when the relay stops meanwhile, Stopped when a refusal is to stop it, StateError when a dead
        letter cannot be kept.
        """
        passed, failures = await self._attempt(events)
        if not failures:
            return passed
        going_on = list(passed)
        attempt = counting = 1
        while failures:
            verdicts = [judge(failure.error, self._spec.retry, counting) for failure in failures]
            given_up = [f for f, verdict in zip(failures, verdicts, strict=True) if verdict is Verdict.GIVE_UP]
            failures = [f for f, verdict in zip(failures, verdicts, strict=True) if verdict is Verdict.RETRY]
            if given_up:
                await self._give_up(given_up, attempt)
            if not failures:
                break
            self._note_trouble(failures[0].error)
            self._metrics.retried(len(failures))
            accepted = self._accepted
            await self._stopping.pause(pause(self._spec.retry, attempt, failures[0].error))
            passed, failures = await self._attempt([failure.event for failure in failures])
            going_on.extend(passed)
            attempt += 1
            # Only a sink that takes other events meanwhile is a witness against this one.
            counting += self._accepted > accepted
        kept = {id(event) for event in going_on}
        return [event for event in events if id(event) in kept]

    async def _attempt(self, events: Sequence[Event]) -> tuple[Sequence[Event], list[Failure]]:
        self._stopping.check()
        failures: list[Failure] = []
        passed: Sequence[Event]
        began = time.perf_counter()
        try:
            passed = await self.step.process(events)
        except Halted:
            raise
        except BatchError as error:
            failures = [Failure(events[index], classify(cause)) for index, cause in sorted(error.errors.items())]
            passed = (
                error.passed if error.passed is not None else [e for i, e in enumerate(events) if i not in error.errors]
            )
        except Exception as error:
            passed = []
            failures = [Failure(event, classify(error)) for event in events]
        self._metrics.took(time.perf_counter() - began)
        if passed is not events and passed != events and not {id(e) for e in events}.issuperset(map(id, passed)):
            raise MessError(f"step {self.name} returned an event that it was not given; replace event.body instead")
        self._count(len(events), len(passed), failures)
        return passed, failures

    def _count(self, given: int, passed: int, failures: list[Failure]) -> None:
        metrics = self._metrics
        if passed:
            self._accepted += passed
            metrics.delivered(passed)
            if self.trouble is not None:
                self.trouble = None
                if self._told:
                    self._told = False
                    log.info("step works again", pipeline=self.pipeline, step=self.name)
        if dropped := given - passed - len(failures):
            metrics.dropped(dropped)
        for failure in failures:
            if isinstance(failure.error, EndpointDown):
                metrics.down(1)
            elif isinstance(failure.error, Ambiguous):
                metrics.ambiguous(1)
            else:
                metrics.refused(1)

    def _note_trouble(self, error: DeliveryError) -> None:
        self.trouble = str(error)
        # Not a line for each failure of an endpoint that fails now and then; the metrics count them all.
        if time.monotonic() - self._told_at >= _TELL_AGAIN:
            self._told, self._told_at = True, time.monotonic()
            log.warning("step fails, retrying", pipeline=self.pipeline, step=self.name, error=str(error))
        else:
            log.debug("step still fails", pipeline=self.pipeline, step=self.name, error=str(error))

    async def _give_up(self, failures: list[Failure], attempts: int) -> None:
        if self._spec.on_failure == "stop":
            failure = failures[0]
            raise Stopped(
                f"step {self.name} of pipeline {self.pipeline} refused event {failure.event.id} of "
                f"{failure.event.namespace}: {failure.error}. The relay stops, as `on_failure: stop` asks; "
                "it begins with this event again when it is started"
            )
        if self._spec.on_failure == "dead_letter":
            await self._keep([self._letter(failure, attempts) for failure in failures])
            self._metrics.dead_lettered(len(failures))
        log.error(
            "events given up",
            pipeline=self.pipeline,
            step=self.name,
            count=len(failures),
            on_failure=self._spec.on_failure,
            first_id=failures[0].event.id,
            error=str(failures[0].error),
        )

    def _letter(self, failure: Failure, attempts: int) -> DeadLetter:
        event = failure.event
        return DeadLetter(
            id=event.id,
            pipeline=self.pipeline,
            step=self.name,
            namespace=event.namespace,
            operation=event.operation,
            key=event.key,
            reason=str(failure.error),
            error=type(failure.error).__name__,
            attempts=attempts,
            time=datetime.now(timezone.utc),
            event=event.change,
            body=event.body,
        )
