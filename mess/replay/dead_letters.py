"""Delivers dead letters again, through their pipeline, starting at the step that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mess.errors import DeliveryError
from mess.event import Event
from mess.relay.dispatch import ordering_key
from mess.replay.passage import ReplayedLetter, Route
from mess.replay.routes import UNREADABLE, Kept, Way, Ways
from mess.state.letters import DamagedLetter
from mess.state.records import HISTORY, Attempt, DeadLetter, Pointer
from mess.state.store import StateStore
from mess.steps.base import MINI_BATCH_BYTES, MINI_BATCH_EVENTS

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


class Replayer:
    """Replays dead letters of `store` through `routes`, the config's pipelines by name, each on the way given by
    `ways`.

    A letter is deleted only after its event was delivered: if it is interrupted in between, the event is delivered
    twice, with the same id, and never lost. It may run beside the relay, and takes over nothing from it.
    """

    def __init__(self, store: StateStore, routes: Mapping[str, Route], ways: Ways) -> None:
        self._store = store
        self._routes = routes
        self._ways = ways
        self.stopping = False

    def stop(self) -> None:
        """Make `run` return after the deliveries in flight."""
        self.stopping = True

    async def way(self, pointer: Pointer) -> Way:
        """How a letter would be replayed with the current config.

        Raises Kept if it cannot be, StateError if this requires reading the letter and that fails.
        """
        try:
            return self._ways.of(pointer)
        except Kept:
            # A renamed collection may be watched under its new name only.
            if pointer.operation != "rename" or not pointer.pipeline:
                raise
            letter = await self._store.dead_letter(pointer.id)
            if letter is None:
                raise
            return self._ways.of(pointer, letter.event.get("to"))

    async def run(self, pointers: Sequence[Pointer], told: Told = lambda count: None) -> Report:
        """Replay these letters, one pipeline after another, in this order within each.

        A pipeline whose sink is down is left immediately, with its letters unchanged. If only one of its destinations
        is down, only the letters for that one are left. Raises StateError if the letters cannot be read or written,
        ConfigError or another MessError if a step cannot be opened.
        """
        report = Report()
        queues: dict[str, list[tuple[Pointer, Way]]] = {}
        for pointer in pointers:
            try:
                way = await self.way(pointer)
            except (Kept, DamagedLetter) as reason:
                report.kept[str(reason)] += 1
                told(1)
            else:
                queues.setdefault(way.pipeline, []).append((pointer, way))
        for name, queue in queues.items():
            if self.stopping:
                report.interrupted += len(queue)
                continue
            await self._replay(self._routes[name], queue, report, told)
        return report

    async def _replay(self, route: Route, queue: Sequence[tuple[Pointer, Way]], report: Report, told: Told) -> None:
        done = 0
        async with route:
            while done < len(queue) and not self.stopping and route.down is None:
                chunk, looked_at = await self._chunk(queue[done : done + MINI_BATCH_EVENTS], report)
                await route.take(chunk, lambda: self.stopping)
                finished = looked_at - len(chunk) + await self._settle(route, chunk, report)
                told(finished)
                done += finished
        if left := len(queue) - done:
            if route.down is not None:
                report.leave(route.name, route.down, left)
            else:
                report.interrupted += left

    async def _chunk(self, queue: Sequence[tuple[Pointer, Way]], report: Report) -> tuple[list[ReplayedLetter], int]:
        """The next letters, as many as a step is given at a time, and how many pointers they took."""
        chunk: list[ReplayedLetter] = []
        size = looked_at = 0
        for pointer, way in queue:
            if size >= MINI_BATCH_BYTES:
                break
            looked_at += 1
            try:
                letter = await self._store.dead_letter(pointer.id)
            except DamagedLetter as error:
                report.kept[str(error)] += 1
                continue
            if letter is None or (letter.pipeline, letter.step) != (pointer.pipeline, pointer.step):
                report.changed += 1
            elif (obstacle := _unfit(letter, way)) is not None:
                report.kept[obstacle] += 1
            else:
                size += letter.size
                chunk.append(ReplayedLetter(letter, _event(letter, whole=way.whole), way.first))
        return chunk, looked_at

    async def _settle(self, route: Route, chunk: Sequence[ReplayedLetter], report: Report) -> int:
        """Store the outcome of the chunk; returns how many letters are finished."""
        delivered = [each.letter for each in chunk if each.done]
        failed = [_again(each, route) for each in chunk if each.error is not None]
        gone = await self._store.delete_unchanged(delivered)
        replaced = await self._store.replace_unchanged(failed)
        report.delivered += len(delivered)
        report.failed += len(failed)
        report.changed += len(delivered) - gone + len(failed) - replaced
        if failed and not report.first_failure:
            report.first_failure = failed[0].reason
        left = [each.left for each in chunk if each.left is not None]
        for error in left:
            report.leave(route.name, error)
        return len(delivered) + len(failed) + len(left)


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


def _event(letter: DeadLetter, *, whole: bool) -> Event:
    # Use the original id, not one from the token: a large event that MongoDB had split has the token of its last part.
    event = Event(letter.event, letter.namespace, letter.size, id=letter.id)
    event.replay = True
    event.ordering_key = ordering_key(event, "document")
    if not whole:
        event.body = letter.body
    return event


def _again(replayed: ReplayedLetter, route: Route) -> DeadLetter:
    """The updated letter: the pipeline and step that failed this time, the body given to that step, one more
    attempt."""
    letter, error = replayed.letter, replayed.error
    assert error is not None
    return replace(
        letter,
        pipeline=route.name,
        step=route.names[replayed.at],
        reason=str(error),
        error=type(error).__name__,
        attempts=letter.attempts + 1,
        body=replayed.event.body,
        history=(*letter.history, Attempt.failed(error))[-HISTORY:],
    )
