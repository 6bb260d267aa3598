"""Where an event is: in flight, finished, given up, or never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, Protocol

from mess.commands import command
from mess.event import Event
from mess.options.values import written_time
from mess.relay.gap_status import reason
from mess.relay.lane import Held
from mess.relay.runner import StreamRunner
from mess.relay.waits import Wait, Waits
from mess.state.store import DeadLetter, StateStore, Wanted
from mess.telemetry.recent import MOST, Ending, Recent
from mess.telemetry.redact import redact

State = Literal["waiting", "retrying", "delivered", "dropped", "dead_letter", "skipped", "not_seen"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where an event is, and `text`, which says so in a sentence.

    `since` is when it failed first (while it is retried), was finished, or was given up; None if that is unknown.
    `wait` is why its step waits, if it does.
    """

    state: State
    text: str
    namespace: str | None = None
    pipeline: str | None = None
    step: str | None = None
    since: datetime | None = None
    wait: Wait | None = None


class Places(Protocol):
    """The parts of a relay where an event may be."""

    store: StateStore | None
    recent: Recent

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""


async def locate(event_id: str, places: Places, waits: Waits, now: float, *, reasons: bool = True) -> Whereabouts:
    """Find an event by its id; `now` is the server's time in seconds since 1970. Without `reasons`, leave out why it
    failed, which may contain parts of documents.

    Raises StateError if the dead letters cannot be read.
    """
    if (found := _in_flight(event_id, places, waits, now, reasons=reasons)) is not None:
        return found
    if (letter := await _dead_letter(event_id, places.store)) is not None:
        return _given_up(letter, reasons=reasons)
    if (ending := places.recent.find(event_id)) is not None:
        return _finished(ending)
    if (found := _in_gap(event_id, places.store, reasons=reasons)) is not None:
        return found
    return Whereabouts(
        "not_seen",
        f"not seen: it is not in flight, not a dead letter, and not among the last {MOST:,} events that were finished "
        f"since the relay started. `{command(f'event {event_id} --search')}` looks for it in MongoDB's oplog",
    )


def _in_flight(event_id: str, places: Places, waits: Waits, now: float, *, reasons: bool) -> Whereabouts | None:
    for runner in places.runners:
        event = runner.window.find(event_id)
        if event is None:
            continue
        for lane in runner.lanes:
            for held in lane.waiting():
                if any(each is event for each in held.events):
                    return _held(event, held, waits, now=now, reasons=reasons)
        return Whereabouts(
            "waiting",
            f"waiting: stream {runner.name} has read it, and it waits for earlier events",
            namespace=str(event.namespace),
            wait=waits.streams.get(runner.name),
        )
    return None


def _held(event: Event, held: Held, waits: Waits, *, now: float, reasons: bool) -> Whereabouts:
    step = held.step
    place = f"step {step} of pipeline {held.pipeline}"
    wait = waits.steps.get((held.pipeline, step))
    group = held.group
    since: datetime | None = None
    state: State = "waiting"
    if group is not None and any(each is event for each in group.events) and group.attempts:
        state = "retrying"
        since = group.history[0].time if group.history else None
        times = "once" if group.attempts == 1 else f"{group.attempts} times"
        text = f"retrying: it has failed {times} at {place}{f': {group.error}' if reasons else ''}"
    elif group is not None:
        text = f"waiting at {place}, behind an earlier event of the same ordering key or destination"
    else:
        text = f"waiting at {place}"
    if wait is not None:
        text += f"; {wait.text(now)}"
    elif state == "waiting" and group is None:
        text += "; it is being delivered"
    return Whereabouts(
        state, redact(text), str(event.namespace), pipeline=held.pipeline, step=step, since=since, wait=wait
    )


async def _dead_letter(event_id: str, store: StateStore | None) -> DeadLetter | None:
    if store is None:
        return None
    return await anext(aiter(store.dead_letters(Wanted(ids=(event_id,)), limit=1)), None)


def _given_up(letter: DeadLetter, *, reasons: bool) -> Whereabouts:
    attempts = "one attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    why = f": {redact(letter.reason)}" if reasons else ""
    text = (
        f"dead letter: step {letter.step} of pipeline {letter.pipeline} gave it up at {written_time(letter.time)} "
        f"after {attempts}{why}. `{command(f'dead-letters replay {letter.id}')}` delivers it"
    )
    return Whereabouts(
        "dead_letter",
        text,
        namespace=str(letter.namespace),
        pipeline=letter.pipeline,
        step=letter.step,
        since=letter.time,
    )


def _finished(ending: Ending) -> Whereabouts:
    time = datetime.fromtimestamp(ending.time, timezone.utc)
    at = f"at {written_time(time)}"
    states: dict[str, tuple[State, str]] = {
        "delivered": ("delivered", f"delivered {at}, by all steps of pipeline {ending.pipeline}"),
        "ended": ("dropped", f"dropped {at}, by a step of pipeline {ending.pipeline}"),
        "skipped": (
            "skipped",
            f"skipped {at}: step {ending.step} of pipeline {ending.pipeline} gave it up (`on_failure: skip`)",
        ),
        # The letter is no longer there, or the state is not open.
        "dead_letter": (
            "dead_letter",
            f"dead letter: step {ending.step} of pipeline {ending.pipeline} gave it up {at}; it is not stored any "
            "more, so it was replayed or discarded",
        ),
    }
    state, text = states[ending.outcome]
    return Whereabouts(state, text, pipeline=ending.pipeline, step=ending.step, since=time)


def _in_gap(event_id: str, store: StateStore | None, *, reasons: bool) -> Whereabouts | None:
    for gap in () if store is None else store.known_gaps:
        if event_id in (gap.first, gap.last):
            why = reason(gap, documents=reasons)
            return Whereabouts(
                "skipped",
                f"skipped: it belongs to gap {gap.id} ({why}); `{command('gaps list')}` shows it",
                pipeline=gap.pipeline,
                step=gap.step,
                since=gap.time,
            )
    return None
