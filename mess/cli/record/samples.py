"""Where `mess record` gets events from: MongoDB's changes, or the dead letters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mess.cli.common import say
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from datetime import datetime

    from mess.capture.reach import Connect
    from mess.capture.selection import Narrowing
    from mess.cases.record import Sample
    from mess.config.load import Loaded
    from mess.event import Event
    from mess.state.store import StateStore


@dataclass(frozen=True)
class Choice:
    """Which events to record, and how long to wait for them: `seconds`, or None for no limit.

    `letters` says that they are dead letters, of which `since` selects those given up since; of others, it selects the
    changes since.
    """

    count: int
    seconds: float | None
    since: datetime | None
    pipeline: str | None
    within: Narrowing
    letters: bool


@asynccontextmanager
async def samples(loaded: Loaded, choice: Choice, connect: Connect) -> AsyncIterator[AsyncGenerator[Sample]]:
    """The chosen events, possibly more than `count`. Raises SourceError, StateError, ConfigError."""
    if choice.letters:
        from mess.stores import store_for

        async with store_for(loaded.config, connect) as store:
            yield _letters(store, choice)
        return
    from mess.capture.plan import plan
    from mess.cases.watch import watching
    from mess.replay.filter import narrow

    plans = narrow(plan(loaded.config), choice.within)
    ends = choice.since is not None and choice.seconds is None
    async with watching(loaded.config, plans, connect=connect, since=choice.since, ends=ends) as events:
        if not ends:
            names = ", ".join(str(each.selection) for each in plans)
            say(f"waiting for changes in {printable(names)}; Ctrl-C ends it", err=True)
        yield _changes(loaded, events, choice)


async def _changes(loaded: Loaded, events: AsyncGenerator[Event], choice: Choice) -> AsyncGenerator[Sample]:
    from contextlib import aclosing

    from mess.cases.case import pipeline_of
    from mess.cases.record import Sample

    async with aclosing(events):
        async for event in events:
            if choice.pipeline in (None, pipeline_of(event, loaded.config)):
                yield Sample(event.id, namespace=event.namespace, operation=event.operation, change=event.change)


async def _letters(store: StateStore, choice: Choice) -> AsyncGenerator[Sample]:
    """The newest of the chosen letters, the oldest change first."""
    from mess.cases.record import Sample
    from mess.event import document_of
    from mess.state.letters import DamagedLetter
    from mess.state.records import Wanted

    pointers = await store.pointers(Wanted(pipeline=choice.pipeline, since=choice.since))
    for pointer in [each for each in pointers if choice.within.selects(each.namespace)][-choice.count :]:
        try:
            letter = await store.dead_letter(pointer.id)
        except DamagedLetter as error:
            say(str(error), err=True)
            continue
        if letter is None or not isinstance(letter.event, dict):
            continue
        about = {
            "id": letter.id,
            "document": document_of(letter.event, letter.looked_up),
            "backfill": letter.backfill or None,
        }
        yield Sample(
            letter.id,
            namespace=letter.namespace,
            operation=letter.operation,
            change=letter.event,
            about={name: value for name, value in about.items() if value is not None},
        )
