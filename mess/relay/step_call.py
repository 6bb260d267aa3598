"""One call of a step: which events it passed on, and which failed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mess.errors import BatchError, DeliveryError, EndpointDown, MessError, Refused
from mess.event import Event
from mess.relay.evidence import Kind
from mess.relay.retry import classify
from mess.relay.stopping import Halted
from mess.steps.base import Step
from mess.telemetry.observer import StepObserver

_CHECK_SECONDS = 30.0


Process = Callable[[Sequence[Event]], Awaitable[Sequence[Event]]]
"""Like `Step.process`."""


class Failure(NamedTuple):
    """Events that failed together, why, and the destination concerned; None if it concerns all of them."""

    error: DeliveryError
    events: list[Event]
    destination: str | None = None


class Called(NamedTuple):
    """The result of a call: the events that go on, in order; those that the step accepted, which includes those that it
    dropped; the failures; and the events that it did not reach."""

    passed: Sequence[Event]
    accepted: Sequence[Event]
    failures: Sequence[Failure] = ()
    untried: Sequence[Event] = ()


async def call(
    step: Step, name: str, events: Sequence[Event], observer: StepObserver, process: Process | None = None
) -> Called:
    """Give the step, which is called `name`, these events; to `process`, if that is given, in place of its own.

    Raises Halted if the relay stops meanwhile, MessError if the step returns an event that it was not given.
    """
    accepted: Sequence[Event] = events
    failures: Sequence[Failure] = ()
    untried: Sequence[Event] = ()
    began = time.perf_counter()
    try:
        passed = await (process or step.process)(events)
    except Halted:
        raise
    except BatchError as error:
        failures, untried = _together(step, events, error.errors), error.untried
        failed = {id(event) for failure in failures for event in failure.events}.union(map(id, untried))
        accepted = [event for event in events if id(event) not in failed]
        passed = accepted if error.passed is None else error.passed
    except Exception as error:
        failures = _together(step, events, dict.fromkeys(range(len(events)), error))
        passed = accepted = ()
    observer.attempted(events, time.perf_counter() - began)
    if passed is not events and passed != events and not {id(event) for event in events}.issuperset(map(id, passed)):
        raise MessError(f"step {name} returned an event that it was not given; replace event.body instead")
    for failure in failures:
        observer.failed(failure.events, failure.error)
    if passed:
        observer.delivered(passed)
    if (dropped := len(accepted) - len(passed)) > 0:
        observer.dropped(dropped)
    return Called(passed, accepted, failures=failures, untried=untried)


async def why_not(step: Step) -> str | None:
    """Why the step could not work now, according to its own check; None if it could."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await step.check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    except Exception as error:  # an error that a step did not foresee is no reason to end the relay either
        return str(classify(error, step.unexpected))
    return None


def _together(step: Step, events: Sequence[Event], errors: Mapping[int, Exception]) -> list[Failure]:
    """The failed events in order, grouped by those that failed together."""
    found: dict[Any, Failure] = {}
    for index, cause in sorted(errors.items()):
        error = classify(cause, step.unexpected)
        shared = step.destination is None or (isinstance(error, EndpointDown) and error.shared)
        destination = None if shared or step.destination is None else step.destination(events[index])
        # A problem of the sink is one failure, however many events report it; a refusal concerns each event separately.
        alike = id(cause) if isinstance(error, Refused) else (Kind.of(error), str(error))
        found.setdefault((alike, destination), Failure(error, [], destination)).events.append(events[index])
    return list(found.values())
