"""Dead letters as a source of events, read from the store as room for them is found."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mess.capture.existing_documents import ReadEvent
from mess.capture.source import Batch
from mess.event import Event, Position
from mess.replay.letter_results import LetterResults
from mess.replay.routes import UNREADABLE, Way
from mess.state.letters import DamagedLetter
from mess.state.records import DeadLetter, Pointer
from mess.state.store import StateStore
from mess.steps.base import MINI_BATCH_BYTES, MINI_BATCH_EVENTS

_NOWHERE = Position(None, None)


class Due(NamedTuple):
    """A letter to be replayed, and its way."""

    pointer: Pointer
    way: Way


class LetterSource:
    """The events of `due`, in that order, each entered in `results`. `steps` are the names of the pipeline's.

    Letters that cannot be replayed, or that another process has changed meanwhile, are only counted there.
    """

    problem = None

    def __init__(
        self, name: str, due: Sequence[Due], store: StateStore, results: LetterResults, steps: Collection[str]
    ) -> None:
        self.name = name
        self.connected = asyncio.Event()
        self.connected.set()
        self.position = _NOWHERE
        self._due = due
        self._read = 0
        self._store = store
        self._results = results
        self._steps = steps

    @property
    def unread(self) -> int:
        """How many letters have not been read yet."""
        return len(self._due) - self._read

    async def read(self) -> Batch | None:
        """The next events, as many as a step is given at a time; None after the last. Raises StateError."""
        events: list[Event] = []
        size = 0
        while self.unread and len(events) < MINI_BATCH_EVENTS and size < MINI_BATCH_BYTES:
            pointer, way = self._due[self._read]
            letter = await self._letter(pointer, way)
            self._read += 1
            if letter is not None:
                event = _event(letter, self._steps, whole=way.whole)
                self._results.begin(event, letter, way.first)
                events.append(event)
                size += letter.size
        return Batch(events, _NOWHERE) if events or self.unread else None

    def position_after(self, event: Event) -> Position:
        """Nowhere: letters are not read on from a position."""
        return _NOWHERE

    async def close(self) -> None:
        """Nothing to close: the store is the caller's."""

    async def _letter(self, pointer: Pointer, way: Way) -> DeadLetter | None:
        try:
            letter = await self._store.dead_letter(pointer.id)
        except DamagedLetter as error:
            self._results.keep(str(error))
            return None
        if letter is None or (letter.pipeline, letter.step) != (pointer.pipeline, pointer.step):
            self._results.changed()
            return None
        obstacle = _unfit(letter, way)
        if obstacle is not None:
            self._results.keep(obstacle)
            return None
        return letter


def _unfit(letter: DeadLetter, way: Way) -> str | None:
    """Why the stored parts of a letter are not enough to replay it."""
    if "operationType" not in letter.event:
        return UNREADABLE
    if not way.whole and not isinstance(letter.body, dict):
        return (
            "the body held what cannot be stored, so that it was kept only as Python shows it "
            "(--whole-pipeline makes it anew from the change)"
        )
    return None


def _event(letter: DeadLetter, steps: Collection[str], *, whole: bool) -> Event:
    # Use the original id, not one from the token: a large event that MongoDB had split has the token of its last part.
    event: Event
    if letter.operation == "read":
        event = ReadEvent(letter.event, letter.namespace, letter.size, id=letter.id)
        event.backfill = letter.backfill
        # Through a pipeline without the step that it is for, it goes like any other letter.
        event.only = letter.only if letter.only in steps else None
    else:
        event = Event(letter.event, letter.namespace, letter.size, id=letter.id, looked_up=letter.looked_up)
    event.replay = True
    if not whole:
        event.body = letter.body
    return event
