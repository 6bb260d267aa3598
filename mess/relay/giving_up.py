"""Handles events that are given up: stores them as dead letters, skips them, or stops the relay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from mess.config.model import OnFailure
from mess.errors import Stopped
from mess.event import Event
from mess.relay.gaps import Keeper
from mess.relay.growing_gaps import GrowingGaps, loss
from mess.relay.retry_group import RetryGroup
from mess.state.store import DeadLetter
from mess.telemetry.logging import get_logger
from mess.telemetry.observer import StepObserver

log = get_logger("mess.pipeline")


class GivingUp:
    """Applies a step's `on_failure`. What it skips becomes a gap."""

    def __init__(self, pipeline: str, step: str, on_failure: OnFailure, keeper: Keeper, observer: StepObserver) -> None:
        self._pipeline = pipeline
        self._step = step
        self._on_failure = on_failure
        self._keeper = keeper
        self._skipped = GrowingGaps("skipped", keeper, pipeline=pipeline, step=step)
        self._observer = observer

    async def give_up(self, groups: Sequence[RetryGroup]) -> None:
        """Give up the events of these groups.

        Raises Stopped if `on_failure` says so, StateError if a dead letter cannot be stored.
        """
        first = groups[0]
        if self._on_failure == "stop":
            raise Stopped(
                f"step {self._step} of pipeline {self._pipeline} refused event {first.events[0].id} of "
                f"{first.events[0].namespace}: {first.error}. The relay stops here, because of `on_failure: stop`, "
                f"and will start again here. To continue, fix the cause of the refusal, or skip the event with "
                "`on_failure: dead_letter` (`mess dead-letters replay` delivers it later) or `skip`"
            )
        events = [(event, group) for group in groups for event in group.events]
        if self._on_failure == "dead_letter":
            await self._keeper.add_dead_letters([self._letter(event, group) for event, group in events])
        else:
            for group in groups:
                self._keeper.defer_gap(self._skipped.add(str(group.error), [loss(event) for event in group.events]))
        for group in groups:
            self._observer.given_up(group.events, group.error, stored=self._on_failure == "dead_letter")
        log.error(
            "events given up",
            pipeline=self._pipeline,
            step=self._step,
            count=len(events),
            on_failure=self._on_failure,
            first_id=first.events[0].id,
            error=str(first.error),
        )

    def _letter(self, event: Event, group: RetryGroup) -> DeadLetter:
        return DeadLetter(
            id=event.id,
            pipeline=self._pipeline,
            step=self._step,
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
            backfill=event.backfill,
            only=event.only,
            looked_up=event.looked_up,
        )
