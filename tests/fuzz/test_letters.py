"""What becomes of dead letters that are replayed, whatever sinks, the store and the user do meanwhile, against the
promises of docs/dead-letters.md."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, cast
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from mess.config.model import Config, StepSpec
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, Refused, StateError
from mess.event import Event
from mess.relay import dispatch
from mess.relay.build import BuiltStep
from mess.replay.dead_letters import Replayer
from mess.replay.letter_results import Report
from mess.replay.routes import Ways
from mess.state.records import DeadLetter, Pointer
from mess.state.store import StateStore
from mess.steps.base import Sink, Transform
from tests import clock
from tests.fuzz.profiles import examples
from tests.unit.fakes import make_event

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)
STEPS = ("mark", "first", "second")
GRACE = 7.0
HANGS = 10_000.0
LONGEST = 50_000.0

outcomes = st.sampled_from(["taken", "taken", "refused", "refused", "ambiguous", "ambiguous", "down", "suspect", "all"])


@dataclass(frozen=True)
class Change:
    """A letter's event: the document's `key`, None for a barrier; where it `goes`; the step that it `begins` at; what
    each of the two sinks answers to it, the last of which for ever. `deleted` are led past the first sink."""

    key: int | None
    goes: int
    begins: int
    answers: Sequence[Sequence[str]]
    size: int
    deleted: bool
    dropped: bool


@dataclass(frozen=True)
class Place:
    """A sink: how many events it takes at a time and how long; whether events that fail share one failure; whether it
    ends with the first event that fails; and its options."""

    most: int
    takes: float
    together: bool
    ends_early: bool
    several: bool
    options: Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """`stops` is when the user presses Ctrl-C, `store_fails` at which call the store fails for good, `others` when
    another process replaces or deletes which letters."""

    changes: Sequence[Change]
    places: Sequence[Place]
    order: str
    concurrency: int | None
    store_takes: float
    stops: float | None = None
    store_fails: int | None = None
    others: Sequence[tuple[float, int, bool]] = ()


class Store:
    """Keeps letters in memory; each call takes some time, and is carried out in the middle of it."""

    def __init__(self, letters: Sequence[DeadLetter], takes: float, fails_at: int | None) -> None:
        self.letters = {letter.id: letter for letter in letters}
        self.replaced: dict[str, float] = {}
        self._takes = takes
        self._left = fails_at

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        await self._work()
        return self.letters.get(id)

    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        await self._work()
        mine = [letter for letter in letters if self._unchanged(letter)]
        for letter in mine:
            self.letters[letter.id] = replace(letter, version=f"{letter.version}+")
            self.replaced[letter.id] = time.monotonic()
        await asyncio.sleep(self._takes)
        return len(mine)

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        await self._work()
        mine = [letter for letter in letters if self._unchanged(letter)]
        for letter in mine:
            del self.letters[letter.id]
        await asyncio.sleep(self._takes)
        return len(mine)

    def _unchanged(self, letter: DeadLetter) -> bool:
        stored = self.letters.get(letter.id)
        return stored is not None and stored.version == letter.version

    async def _work(self) -> None:
        await asyncio.sleep(self._takes)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise StateError("the disk is full")


@dataclass(eq=False)
class Call:
    """A call of a sink: which events it held and which of them were taken, tried in vain, or not tried."""

    began: float
    ids: list[str]
    taken: list[str]
    failed: dict[str, str]
    ended: float = float("inf")


class Receiver(Sink):
    """A sink that does what the world says."""

    def __init__(self, place: Place, number: int, changes: Sequence[Change]) -> None:
        self.max_events = place.most
        self.calls: list[Call] = []
        self._place = place
        self._number = number
        self._changes = changes
        self._asked: Counter[str] = Counter()
        if place.several:
            self.destination = self._goes
        if number == 0:
            self.carries = _is_kept

    def _goes(self, event: Event) -> str:
        return str(event.body["goes"])

    async def deliver(self, events: Sequence[Event]) -> None:
        call = Call(time.monotonic(), [event.id for event in events], [], {})
        self.calls.append(call)
        errors: dict[int, Exception] = {}
        untried: list[Event] = []
        shared: dict[str, DeliveryError] = {}
        for index, event in enumerate(events):
            if errors and self._place.ends_early:
                untried.append(event)
                continue
            answer = self._answer(event)
            if answer == "taken":
                call.taken.append(event.id)
                continue
            call.failed[event.id] = answer
            errors[index] = shared.setdefault(answer, failure(answer)) if self._place.together else failure(answer)
        await asyncio.sleep(self._place.takes)
        call.ended = time.monotonic()
        if errors:
            raise BatchError(errors, untried=untried)

    def _answer(self, event: Event) -> str:
        answers = self._changes[event.body["number"]].answers[self._number]
        self._asked[event.id] += 1
        return answers[min(self._asked[event.id], len(answers)) - 1] if answers else "taken"


def _is_kept(event: Event) -> bool:
    return event.operation != "delete"


def failure(answer: str) -> DeliveryError:
    match answer:
        case "refused":
            return Refused("answered 422")
        case "ambiguous":
            return Ambiguous("answered 500")
        case "suspect":
            return EndpointDown("answered 403", event_may_be_cause=True)
        case _:
            return EndpointDown("answered 503", shared=answer == "all")


class Mark(Transform):
    """Drops what the world says."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def apply(self, event: Event) -> Event | None:
        return None if self._changes[event.body["number"]].dropped else event


def changes(
    answers: st.SearchStrategy[str] = outcomes, most: int = 12, keys: Sequence[int | None] = (0, 1, 2, 0, 1, 2, None)
) -> st.SearchStrategy[list[Change]]:
    given_by_one = st.one_of(st.just(()), st.lists(answers, min_size=1, max_size=4))
    return st.lists(
        st.builds(
            Change,
            st.sampled_from(keys),
            st.integers(0, 2),
            st.sampled_from([0, 1, 1, 2]),
            st.tuples(given_by_one, given_by_one),
            st.sampled_from([100, 100, 600_000, 20_000_000]),
            st.booleans(),
            st.sampled_from([False, False, False, True]),
        ),
        min_size=1,
        max_size=most,
    )


options = st.fixed_dictionaries(
    {
        "concurrency": st.sampled_from([None, 1, 2]),
        "rate_limit": st.sampled_from([None, None, 5.0]),
        "on_failure": st.sampled_from(["dead_letter", "skip", "stop"]),
        "retry": st.fixed_dictionaries(
            {"max_attempts": st.sampled_from([1, 2, 3, None]), "first": st.sampled_from([0.2, 5.0])}
        ),
        "probe": st.fixed_dictionaries({"suspect_after": st.sampled_from([10, 2, 1])}),
    }
)
places = st.builds(
    Place,
    st.sampled_from([1, 3, 500]),
    st.sampled_from([0.0, 0.1, 3.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    options,
)


def worlds(
    some: st.SearchStrategy[list[Change]],
    at: st.SearchStrategy[Place] = places,
    orders: Sequence[str] = ("document", "document", "collection", "none"),
    **more: st.SearchStrategy[Any],
) -> st.SearchStrategy[World]:
    return st.builds(
        World,
        some,
        st.tuples(at, at),
        st.sampled_from(orders),
        st.sampled_from([None, 1, 4]),
        st.sampled_from([0.0, 0.05, 1.0]),
        **more,
    )


@dataclass
class Result:
    """What a replay came to: its report, None if the store failed, and what was done."""

    world: World
    letters: list[DeadLetter]
    left: Mapping[str, DeadLetter]
    replaced: Mapping[str, float]
    report: Report | None
    calls: list[list[Call]]
    took: float


def letter(number: int, change: Change) -> DeadLetter:
    operation = "rename" if change.key is None else "delete" if change.deleted else "insert"
    event = make_event(number, key=change.key, operation=operation)
    return DeadLetter(
        id=event.id,
        pipeline="shop",
        step=STEPS[change.begins],
        namespace=event.namespace,
        operation=operation,
        key=event.key,
        reason="refused long ago",
        error="Refused",
        attempts=1,
        time=NOW,
        event=event.change,
        body={"number": number, "goes": change.goes},
        version="0",
        size=change.size,
    )


def replay(world: World) -> Result:
    """Replay the letters of a world, with all that happens meanwhile."""
    keys = iter(range(1000, 2000))

    def ordering_key(event: Event, order: str) -> int:
        if event.key is None:
            return 0
        return 1 + event.key["_id"] if order == "document" else 1 if order == "collection" else next(keys)

    with patch.object(dispatch, "ordering_key", ordering_key):
        return clock.run(_replay(world))


async def _replay(world: World) -> Result:
    letters = [letter(number, change) for number, change in enumerate(world.changes)]
    store = Store(letters, world.store_takes, world.store_fails)
    receivers = [Receiver(place, number, world.changes) for number, place in enumerate(world.places)]
    built = [BuiltStep("mark", StepSpec.model_validate({"name": "mark"}), Mark(world.changes))] + [
        BuiltStep(name, StepSpec.model_validate({"name": name, **place.options}), receiver)
        for name, place, receiver in zip(STEPS[1:], world.places, receivers, strict=True)
    ]
    config = Config.model_validate(
        {"databases": {"*": {}}, "order": world.order, "concurrency": world.concurrency, "shutdown_grace": GRACE}
    )
    ways = Ways({"shop": STEPS}, lambda namespace: "shop", whole=False)
    replayer = Replayer(config, {"shop": built}, cast(StateStore, store), ways)
    meanwhile = [asyncio.create_task(_other(store, letters, *each)) for each in world.others]
    if world.stops is not None:
        meanwhile.append(asyncio.create_task(_stop(replayer, world.stops)))
    pointers = [
        Pointer(id=each.id, pipeline=each.pipeline, step=each.step, namespace=each.namespace, operation=each.operation)
        for each in letters
    ]
    began = time.monotonic()
    report: Report | None = None
    try:
        async with asyncio.timeout(LONGEST):
            report = await replayer.run(pointers)
    except StateError:
        assert world.store_fails is not None
    took = time.monotonic() - began
    for task in meanwhile:
        task.cancel()
    await asyncio.gather(*meanwhile, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something still runs"
    return Result(world, letters, store.letters, store.replaced, report, [one.calls for one in receivers], took)


async def _other(store: Store, letters: Sequence[DeadLetter], after: float, number: int, deletes: bool) -> None:
    await asyncio.sleep(after)
    found = store.letters.get(letters[number % len(letters)].id)
    if found is not None and deletes:
        del store.letters[found.id]
    elif found is not None:
        store.letters[found.id] = replace(found, step="second", version="other")


async def _stop(replayer: Replayer, after: float) -> None:
    await asyncio.sleep(after)
    replayer.stop()


def check(result: Result) -> None:
    """Raises AssertionError where a promise is broken."""
    fates = [_fate(result, each) for each in result.letters]
    report = result.report
    if report is not None:
        left = sum(count for _, count in report.down.values())
        assert not report.kept
        assert report.delivered + report.failed + left + report.interrupted == len(fates), "counts do not add up"
        assert (report.delivered, report.failed) == (fates.count("gone"), fates.count("failed")), "counted wrongly"
        assert not report.changed
        assert report.interrupted == 0 or result.world.stops is not None
    for number, fate in enumerate(fates):
        if fate == "gone":
            _was_delivered(result, number)
        elif fate == "failed":
            _says_how_often(result, number)
    _order_is_kept(result, fates)
    _barriers_are_alone(result)


def _fate(result: Result, before: DeadLetter) -> str:
    after = result.left.get(before.id)
    if after is None:
        return "gone"
    return "unchanged" if after == before else "failed"


def _path(result: Result, number: int) -> list[int]:
    """The sinks that an event must be given to, unless it was dropped."""
    change = result.world.changes[number]
    if change.dropped and change.begins == 0:
        return []
    deleted = result.letters[number].operation == "delete"
    return [sink for sink in (0, 1) if sink + 1 >= change.begins and not (sink == 0 and deleted)]


def _was_delivered(result: Result, number: int) -> None:
    id_ = result.letters[number].id
    for sink in (0, 1):
        times = sum(id_ in call.taken for call in result.calls[sink])
        assert times == (sink in _path(result, number)), f"{number} was deleted, and taken {times} times"


def _says_how_often(result: Result, number: int) -> None:
    before = result.letters[number]
    after = result.left[before.id]
    sink = STEPS.index(after.step) - 1
    tried = [call.failed[before.id] for call in result.calls[sink] if before.id in call.failed]
    told = after.attempts - before.attempts
    # What failed here beside an earlier one of its document, which went on and failed behind, begins anew after that.
    others = [one for one in result.letters if one is not before and _alike(result, one, before)]
    assert told == len(tried) if not others else 1 <= told <= len(tried)
    assert [attempt.reason for attempt in after.history] == [str(failure(each)) for each in tried[-told:]][-10:]
    assert not any(before.id in call.taken for call in result.calls[sink])


def _alike(result: Result, one: DeadLetter, other: DeadLetter) -> bool:
    """Whether two changes keep their order."""
    if one.key is None or other.key is None or result.world.order == "none":
        return False
    return result.world.order == "collection" or bool(one.key == other.key)


def _behind(result: Result, one: DeadLetter, other: DeadLetter) -> bool:
    """Whether one is left if the other is: of barriers, too."""
    return (one.key is None and other.key is None) or _alike(result, one, other)


def _order_is_kept(result: Result, fates: Sequence[str]) -> None:
    """No change is sent to a sink while an earlier one of its document is under way there, or was left."""
    numbers = {each.id: number for number, each in enumerate(result.letters)}
    for sink, calls in enumerate(result.calls):
        for call in calls:
            sent = [numbers[id_] for id_ in call.ids]
            for one, other in pairwise(sent):
                assert one < other or not _alike(result, result.letters[one], result.letters[other])
            for number in sent:
                for earlier in set(range(number)).difference(sent):
                    before = result.letters[earlier]
                    if sink not in _path(result, earlier) or not _alike(result, before, result.letters[number]):
                        continue
                    taken = any(before.id in one.taken and one.ended <= call.began for one in calls)
                    failed = fates[earlier] == "failed" and result.replaced[before.id] <= call.began
                    assert taken or failed, f"{number} overtook {earlier} at sink {sink}"


def _barriers_are_alone(result: Result) -> None:
    barriers = {each.id for each in result.letters if each.operation == "rename"}
    calls = [call for some in result.calls for call in some]
    for one in calls:
        if barriers.intersection(one.ids):
            assert len(one.ids) == 1
            assert not any(other.began < one.ended and one.began < other.ended for other in calls if other is not one)


@examples(150, shrink=False)
@given(worlds(changes()))
def test_every_letter_is_delivered_or_failed_or_left(world: World) -> None:
    check(replay(world))


hanging = st.builds(lambda place, takes: replace(place, takes=takes), places, st.sampled_from([0.0, 0.1, 3.0, HANGS]))


@examples(100, shrink=False)
@given(worlds(changes(), hanging, stops=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.1, 2.5, 7.0])))
def test_stopped_at_any_moment(world: World) -> None:
    result = replay(world)
    check(result)
    assert world.stops is not None
    assert result.took <= world.stops + GRACE + 4.0 + 1.0


@examples(60, shrink=False)
@given(worlds(changes(), store_fails=st.integers(0, 20)))
def test_a_store_that_fails_costs_no_letter(world: World) -> None:
    check(replay(world))


calm = st.sampled_from(["taken", "refused", "down"])
apart = st.builds(lambda place: replace(place, several=True, takes=0.1), places)


@examples(60, shrink=False)
@given(worlds(changes(calm, most=20), apart))
def test_only_what_is_down_and_what_is_behind_it_is_left(world: World) -> None:
    result = replay(world)
    check(result)
    assert result.report is not None
    ways = list(zip(result.letters, world.changes, strict=True))
    calls = [call for some in result.calls for call in some]
    down = {change.goes for each, change in ways for call in calls if call.failed.get(each.id) == "down"}
    for each, change in ways:
        if _fate(result, each) == "unchanged":
            assert change.goes in down or any(its.goes in down and _behind(result, each, one) for one, its in ways), (
                "left although its destination works"
            )


@examples(60, shrink=False)
@given(
    worlds(
        changes(),
        others=st.lists(
            st.tuples(st.sampled_from([0.0, 0.1, 1.0, 3.0]), st.integers(0, 11), st.booleans()), max_size=6
        ),
    )
)
def test_beside_others_that_replace_and_delete_letters(world: World) -> None:
    """Theirs are not touched, and every letter is counted."""
    result = replay(world)
    report = result.report
    assert report is not None
    left = sum(count for _, count in report.down.values())
    counted = report.delivered + report.failed + left + report.interrupted
    # Those that are changed while they are delivered, or while they fail, count twice.
    assert counted <= len(result.letters) <= counted + report.changed
    for number, before in enumerate(result.letters):
        after = result.left.get(before.id)
        if after is None:
            others = any(deletes and which % len(result.letters) == number for _, which, deletes in world.others)
            if not others:
                _was_delivered(result, number)
