"""One event through a pipeline's steps, without sending anything: sinks only say what they would send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mess.errors import DeliveryError
from mess.event import Event
from mess.relay.build import BuiltStep
from mess.relay.retry import classify
from mess.relay.step_call import call
from mess.steps.base import Preview, Sink
from mess.telemetry.observer import StepObserver


@dataclass
class DryRun:
    """What became of an event, by the names of the steps.

    `sent` holds what each sink that it reached would send; None from a sink that cannot say. `bodies` holds the body
    after each of the other steps. It ended at the step `dropped`, or at the step `failed` with `error`; otherwise it
    went through all steps.
    """

    sent: dict[str, Preview | None] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: str | None = None
    failed: str | None = None
    error: DeliveryError | None = None


@asynccontextmanager
async def opened(steps: Iterable[BuiltStep]) -> AsyncIterator[None]:
    """Open these steps for `dry_run`, and close them. Sinks stay closed."""
    async with AsyncExitStack() as stack:
        for built in steps:
            if not isinstance(built.step, Sink):
                stack.push_async_callback(built.step.close)
                await built.step.open()
        yield


async def dry_run(steps: Sequence[BuiltStep], event: Event) -> DryRun:
    """Put an event through steps, which are `opened`, with one attempt each. Users' functions really run.

    Raises MessError if a step breaks its promises.
    """
    found = DryRun()
    for name, _, step, _ in steps:
        if step.carries is not None and not step.carries(event):
            continue
        if isinstance(step, Sink):
            try:
                found.sent[name] = step.preview(event)
            except Exception as error:
                found.failed, found.error = name, classify(error, step.unexpected)
                return found
            continue
        called = await call(step, name, [event], StepObserver())
        if called.failures:
            found.failed, found.error = name, called.failures[0].error
            return found
        if not called.passed:
            found.dropped = name
            return found
        found.bodies[name] = event.body
    return found
