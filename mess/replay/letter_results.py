"""What becomes of dead letters while they are replayed: they are deleted, updated, or left as they were."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from mess.cancellation import cancel
from mess.errors import DeliveryError
from mess.event import Event
from mess.relay.retry_group import RetryGroup
from mess.state.records import HISTORY, DeadLetter
from mess.state.store import StateStore
from mess.telemetry.observer import PipelineObserver

_SETTLE_AGAIN = 0.25
"""Seconds between two deletions of delivered letters: what is delivered again at most if the process is killed."""

Told = Callable[[int], None]
"""Called with the number of further letters that a replay has finished."""


@dataclass(slots=True)
class Report:
    """The result of a replay, in numbers of letters.

    `delivered` passed the rest of their pipeline, or were dropped by a step; their letters are deleted. `failed` failed
    again, and their letters say why (`first_failure` is one of the reasons). `changed` were deleted or replaced by
    another process meanwhile. `kept` says why letters could not be replayed at all, and how many. `down` says what was
    wrong with a pipeline's sink, and how many letters were left for the next time. `interrupted` were left because of a
    stop.
    """

    delivered: int = 0
    failed: int = 0
    first_failure: str = ""
    changed: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    down: dict[str, tuple[str, int]] = field(default_factory=dict)
    interrupted: int = 0

    def leave(self, pipeline: str, error: DeliveryError, letters: int = 1) -> None:
        """Record that letters are left for the next time because of `error`."""
        self.down[pipeline] = (str(error), self.down.get(pipeline, ("", 0))[1] + letters)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.failed or self.kept or self.down or self.interrupted)


@dataclass(slots=True)
class _Replayed:
    """A letter that is being replayed, from the step at index `first` on; `over` once it has failed or was left."""

    letter: DeadLetter
    first: int
    over: bool = False


class LetterResults(PipelineObserver):
    """The letters that are on their way through one pipeline, and what became of the others.

    It is the pipeline's observer, takes the events that its steps leave or give up (see `Leaving`), and deletes the
    letters of delivered events. `sink_down` is why the whole pipeline cannot deliver; `ended` is called then.
    """

    def __init__(
        self, pipeline: str, store: StateStore, report: Report, *, told: Told, ended: Callable[[], None]
    ) -> None:
        self.sink_down: DeliveryError | None = None
        self._pipeline = pipeline
        self._store = store
        self._report = report
        self._told = told
        self._ended = ended
        self._replayed: dict[str, _Replayed] = {}
        self._left: dict[int, DeliveryError] = {}
        self._delivered: list[DeadLetter] = []
        self._deleting: asyncio.Task[None] | None = None

    @property
    def unfinished(self) -> int:
        """How many letters are on their way."""
        return sum(not replayed.over for replayed in self._replayed.values())

    def begin(self, event: Event, letter: DeadLetter, first: int) -> None:
        """Enter the event of a letter, which begins at the step at index `first`."""
        self._replayed[event.id] = _Replayed(letter, first)

    def is_due(self, event: Event, position: int) -> bool:
        """Whether an event goes through the step at this index: it begins there, or before."""
        return self._replayed[event.id].first <= position

    def keep(self, reason: str) -> None:
        """A letter cannot be replayed."""
        self._report.kept[reason] += 1
        self._told(1)

    def changed(self) -> None:
        """Another process has deleted or replaced a letter."""
        self._report.changed += 1
        self._told(1)

    def still_due(self, events: Sequence[Event]) -> Sequence[Event]:
        """See `Leaving`."""
        left = self._left
        if not left:
            return events
        for event in events:
            if (error := left.get(event.ordering_key)) is not None:
                self._leave(event, error)
        return [event for event in events if event.ordering_key not in left]

    def leave(self, group: RetryGroup, *, sink: bool) -> None:
        """See `Leaving`."""
        if sink and self.sink_down is None:
            self.sink_down = group.error
            self._ended()
        for event in group.events:
            if event.ordering_key != id(event):  # with `order: none`, others get the same number once this one is gone
                self._left[event.ordering_key] = group.error
            self._leave(event, group.error)

    def give_up(self, step: str) -> Callable[[Sequence[RetryGroup]], Awaitable[None]]:
        """Updates the letters of events that failed again at a step."""

        async def give_up(groups: Sequence[RetryGroup]) -> None:
            failed = [self._again(event, group, step) for group in groups for event in group.events]
            replaced = await self._store.replace_unchanged(failed)
            for letter in failed:
                self._replayed[letter.id].over = True
            report = self._report
            report.failed += len(failed)
            report.changed += len(failed) - replaced
            report.first_failure = report.first_failure or failed[0].reason

        return give_up

    def finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        """See `PipelineObserver`."""
        for event in events:
            replayed = self._replayed.pop(event.id)
            if not replayed.over:
                self._delivered.append(replayed.letter)
        self._told(len(events))

    async def run(self) -> None:
        """Delete the letters of delivered events again and again, forever. Raises StateError."""
        while True:
            await asyncio.sleep(_SETTLE_AGAIN)
            # `save` waits for it at the end: if it were cancelled, nobody would know which letters are deleted.
            self._deleting = asyncio.create_task(self._delete())
            await asyncio.shield(self._deleting)

    async def save(self) -> None:
        """Delete the letters of delivered events. Raises StateError."""
        if self._deleting is not None:
            await self._deleting
        await self._delete()

    async def close(self) -> None:
        """End what is still being deleted, if an error has ended the replay."""
        if self._deleting is not None:
            await cancel(self._deleting)

    async def _delete(self) -> None:
        delivered, self._delivered = self._delivered, []
        if delivered:
            gone = await self._store.delete_unchanged(delivered)
            self._report.delivered += len(delivered)
            self._report.changed += len(delivered) - gone

    def _leave(self, event: Event, error: DeliveryError) -> None:
        self._replayed[event.id].over = True
        self._report.leave(self._pipeline, error)

    def _again(self, event: Event, group: RetryGroup, step: str) -> DeadLetter:
        """The updated letter: where and why it failed this time, the body given to that step, and the new attempts."""
        letter = self._replayed[event.id].letter
        return replace(
            letter,
            pipeline=self._pipeline,
            step=step,
            reason=str(group.error),
            error=type(group.error).__name__,
            attempts=letter.attempts + group.attempts,
            body=event.body,
            history=(*letter.history, *group.history)[-HISTORY:],
        )
