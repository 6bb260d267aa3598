"""From batches to lanes: order per document, barriers, what is left out."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

import bson
import pytest
from bson import DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from hypothesis import given, settings
from hypothesis import strategies as st

from mess.capture.source import Batch
from mess.capture.tokens import position_after
from mess.event import Event, Namespace, Position
from mess.formats.paths import MISSING, get
from mess.relay.completion import Completion
from mess.relay.dispatch import Dispatcher, Ordering, Route, id_hash, ordering_key
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.telemetry.observer import PipelineObserver
from tests.unit.fakes import ORDERS, make_event, make_events

END = Position({"_data": "end"}, None)


class Slow(Pipeline):
    """A pipeline that takes a random while over each mini-batch."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__("slow", [], Stopping())
        self.random = random.Random(seed)
        self.began: list[Event] = []
        self.finished: list[Event] = []

    async def run(self, events: Sequence[Event], completion: Any, retries: Any, *, position: int = 0) -> None:
        self.began.extend(events)
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        self.finished.extend(events)
        completion.finish(events, delivered=True)


class Bench:
    """A dispatcher over one pipeline, with what a test looks at."""

    def __init__(
        self, *, lanes: int = 4, order: Ordering = "document", operations: frozenset[str] | None = None, **route: Any
    ) -> None:
        self.window = Window(1000, 10_000_000, position_after)
        self.pipeline = Slow()
        self.stopping = self.pipeline.stopping
        self.dispatcher = Dispatcher(self.window, self)
        self.lanes = [
            Lane(
                self.pipeline,
                Completion(self.window, PipelineObserver()),
                wants_more=self.dispatcher.wants_more,
            )
            for _ in range(lanes)
        ]
        self.forks = False
        self.by_value = not isinstance(order, str)
        self._route = Route(self.lanes, order, operations, **route)

    def stuck(self) -> asyncio.Event:
        """Let the pipeline, given two events at a time, finish with none before the event that this returns."""
        released = asyncio.Event()

        async def run(events: Sequence[Event], completion: Any, retries: Any, **_: Any) -> None:
            await released.wait()
            completion.finish(events, delivered=True)

        self.pipeline.run = run  # type: ignore[method-assign]
        self.pipeline.mini_batch = 2
        return released

    def route(self, namespace: Namespace) -> Route | None:
        return self._route if namespace.db == ORDERS.db else None

    def route_gap(self, affected: Namespace) -> Route | None:
        return self.route(affected)

    def route_rename(self, source: Namespace, target: Namespace, time: Timestamp | None) -> Route | None:
        return self.route(source) or self.route(target)

    async def feed(self, events: Sequence[Event]) -> None:
        await self.dispatcher.dispatch(Batch(events, END))
        await self.window.drained()


@pytest.mark.parametrize("lanes", [1, 4, 16])
async def test_events_of_one_document_stay_in_order(lanes: int) -> None:
    bench = Bench(lanes=lanes)
    events = [make_event(number, key=number % 7) for number in range(500)]
    await bench.feed(events)
    by_key: dict[Any, list[int]] = defaultdict(list)
    for event in bench.pipeline.finished:
        by_key[event.key["_id"]].append(event.change["fullDocument"]["n"])  # type: ignore[index]
    assert sum(map(len, by_key.values())) == 500
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert bench.window.position == END


async def test_order_collection_takes_one_lane_for_a_collection() -> None:
    bench = Bench(order="collection")
    await bench.feed(make_events(100))
    numbers = [event.change["fullDocument"]["n"] for event in bench.pipeline.finished]
    assert numbers == sorted(numbers)


async def test_order_none_spreads_one_document_over_all_lanes() -> None:
    bench = Bench(order="none")
    await bench.dispatcher.dispatch(Batch([make_event(n, key=1) for n in range(8)], END))
    assert [len(lane.events) for lane in bench.lanes] == [2, 2, 2, 2]
    await bench.window.drained()


async def test_a_barrier_waits_for_all_before_it_and_lets_none_pass() -> None:
    bench = Bench()
    drop = make_event(50, operation="drop")
    await bench.feed([*make_events(50), drop, *make_events(50, first=51)])
    began = bench.pipeline.began.index(drop)
    assert began == 50
    assert {event.change["clusterTime"].time for event in bench.pipeline.finished[:50]} == set(
        range(1_700_000_000, 1_700_000_050)
    )
    assert bench.pipeline.finished[50] is drop


async def test_an_event_of_a_type_that_is_not_known_is_a_barrier_unless_it_has_a_document() -> None:
    """Unless the user chose operations, it is delivered like any other."""
    bench = Bench()
    odd, of_document = make_event(10, operation="somethingNew"), make_event(21, operation="alsoNew")
    of_document.key = {"_id": 21}
    await bench.feed([*make_events(10), odd, *make_events(10, first=11), of_document])
    assert bench.pipeline.began.index(odd) == 10
    assert bench.pipeline.finished[10] is odd
    assert of_document in bench.pipeline.finished
    chosen = Bench(operations=frozenset({"insert"}))
    await chosen.feed([make_event(1), odd])
    assert [event.operation for event in chosen.pipeline.finished] == ["insert"]


async def test_what_nobody_asked_for_is_done_at_once() -> None:
    bench = Bench(operations=frozenset({"insert"}), since=Timestamp(1_700_000_002, 1))
    foreign = make_event(3, namespace=Namespace("elsewhere", "x"))
    deleted = make_event(4, operation="delete")
    await bench.feed([*make_events(3), foreign, deleted, make_event(5)])
    assert sorted(event.change["fullDocument"]["n"] for event in bench.pipeline.finished) == [2, 5]
    assert bench.window.position == END


async def test_a_rename_into_a_watched_collection_takes_its_route() -> None:
    bench = Bench()
    rename = make_event(
        0, operation="rename", namespace=Namespace("elsewhere", "x"), to={"db": ORDERS.db, "coll": ORDERS.coll}
    )
    await bench.feed([rename])
    assert bench.pipeline.finished == [rename]


@pytest.mark.parametrize(
    "value",
    [
        "a",
        1,
        Int64(1),
        ObjectId(),
        1.5,
        float("nan"),
        None,
        True,
        {"a": 1, "b": [1, {"c": 2}]},
        Decimal128("1.0"),
        b"bytes",
        [1],
    ],
)
def test_equal_ids_hash_alike_after_a_round_through_bson(value: Any) -> None:
    again = bson.decode(bson.encode({"_id": value}))
    assert id_hash(bson.decode(bson.encode({"_id": value}))) == id_hash(again)


def test_numbers_that_mongodb_takes_for_one_id_share_a_lane() -> None:
    assert id_hash({"_id": 1}) == id_hash({"_id": Int64(1)}) == id_hash({"_id": 1.0})


@pytest.mark.parametrize("value", [{"a\0": 1}, [2**64]])
def test_an_id_that_bson_cannot_hold_has_a_lane_too(value: Any) -> None:
    assert id_hash({"_id": value}) == id_hash({"_id": value})


async def test_a_pipeline_that_breaks_ends_its_lane_and_says_so() -> None:
    bench = Bench(lanes=1)

    async def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("broken")

    bench.pipeline.run = broken  # type: ignore[method-assign, assignment]
    await bench.dispatcher.dispatch(Batch(make_events(1), END))
    await asyncio.gather(*(lane.task for lane in bench.lanes if lane.task))
    assert str(bench.stopping.failure) == "broken"
    assert bench.window.position is None


async def test_lanes_that_are_held_up_hold_up_no_others_before_the_window_is_full() -> None:
    """All but one lane are stuck and full, and what comes for that one is still delivered."""
    bench = Bench()
    free = bench.lanes[0]
    held = asyncio.Event()

    async def run(events: Sequence[Event], completion: Any, retries: Any, **_: Any) -> None:
        if events[0] not in mine:
            await held.wait()
        bench.pipeline.finished.extend(events)
        completion.finish(events, delivered=True)

    bench.pipeline.run = run  # type: ignore[method-assign]
    bench.pipeline.mini_batch = 2
    events = [make_event(number, key=number) for number in range(800)]
    mine = [event for event in events if bench.lanes[ordering_key(event, "document") % 4] is free]
    for start in range(0, 800, 100):
        async with asyncio.timeout(5):
            await bench.dispatcher.dispatch(Batch(events[start : start + 100], END))
    while free.task is not None:
        await free.task
    assert bench.pipeline.finished == mine
    held.set()
    await bench.window.drained()


@pytest.mark.parametrize("forks", [False, True])
async def test_while_all_lanes_are_held_up_more_is_let_in_only_where_another_pipeline_may_take_it(
    monkeypatch: pytest.MonkeyPatch, forks: bool
) -> None:
    monkeypatch.setattr("mess.relay.lane._LONG", 0.01)
    bench = Bench()
    bench.forks = forks
    held = bench.stuck()
    await bench.dispatcher.dispatch(Batch(make_events(100), END))
    more = asyncio.create_task(bench.dispatcher.dispatch(Batch(make_events(100, first=100), END)))
    done, _ = await asyncio.wait({more}, timeout=0.3)
    assert bool(done) == forks
    held.set()
    await more
    await bench.window.drained()


async def test_while_most_lanes_are_sated_nothing_more_is_let_in() -> None:
    bench = Bench()
    held = bench.stuck()
    await bench.dispatcher.dispatch(Batch(make_events(100), END))
    more = asyncio.create_task(bench.dispatcher.dispatch(Batch(make_events(100, first=100), END)))
    done, _ = await asyncio.wait({more}, timeout=0.2)
    assert not done
    assert len(bench.window) == 100
    held.set()
    await more
    await bench.window.drained()


# Order by a value

BY = ("fullDocument", "account")


def canonical(value: Any) -> Any:
    """What two equal values have in common, as docs/delivery.md has it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return Fraction(value) if value not in (float("inf"), float("-inf")) else value
    return bson.encode({"": value})


values = st.one_of(
    st.sampled_from([1, 1.0, Int64(1), True, "1", Decimal128("1"), Decimal128("1.0"), 0, 0.0, -0.0, None, "", b"1"]),
    st.sampled_from([float("nan"), float("inf"), [1], [1.0], {"a": 1}, {"a": 1.0}, {"a": 1, "b": 2}, {"b": 2, "a": 1}]),
    st.sampled_from([ObjectId(b"a" * 12), datetime(2026, 1, 1), Timestamp(1, 1), Regex("a"), Code("a"), MinKey()]),
    st.sampled_from([MaxKey(), Binary(b"1", 4), DBRef("a", 1), DatetimeMS(2**60)]),
)
changes = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
    st.sampled_from(["insert", "update", "update", "delete", "drop"]),
    values | st.none(),
)


def change(number: int, coll: str, key: int, operation: str, value: Any) -> Event:
    event = make_event(number, key=key, operation=operation, namespace=Namespace(ORDERS.db, coll))
    made = {**event.change, "fullDocument": {"account": value}}
    if operation == "delete":
        del made["fullDocument"]
    elif number % 11 == 10:
        made["fullDocument"] = None if number % 2 else {"other": value}
    if operation == "drop":
        made.pop("documentKey", None)
    made = bson.decode(bson.encode(made), CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO))
    return Event(made, event.namespace)


@settings(deadline=None)
@given(st.lists(changes, max_size=40), st.integers(1, 5), st.integers(0, 1000), st.integers(1, 41))
async def test_events_with_equal_values_keep_their_order_and_those_without_one_are_barriers(
    made: list[Any], lanes: int, seed: int, batch: int
) -> None:
    """Whatever the documents, collections and lanes are, and however long each of them takes."""
    bench = Bench(lanes=lanes, order=BY)
    bench.pipeline.random = random.Random(seed)
    events = [change(number, *one) for number, one in enumerate(made)]
    for start in range(0, len(events), batch):
        await bench.dispatcher.dispatch(Batch(events[start : start + batch], END))
    await bench.window.drained()
    began, finished = bench.pipeline.began, bench.pipeline.finished
    assert sorted(map(id, finished)) == sorted(map(id, events))
    by_value: dict[Any, list[int]] = defaultdict(list)
    places = {id(event): index for index, event in enumerate(events)}
    for event in finished:
        value = get(event.change, BY)
        if event.key is None or value is MISSING:
            index = places[id(event)]
            assert began[index] is finished[index] is event
            assert set(map(id, finished[:index])) == set(map(id, events[:index]))
        else:
            by_value[canonical(value)].append(places[id(event)])
    assert all(numbers == sorted(numbers) for numbers in by_value.values())


async def test_different_values_take_different_lanes() -> None:
    """Otherwise the order would hold, but nothing would run concurrently."""
    bench = Bench(lanes=4, order=BY)
    events = [change(number, "a", 1, "insert", f"account {number}") for number in range(64) if number % 11 != 10]
    await bench.dispatcher.dispatch(Batch(events, END))
    assert all(lane.events for lane in bench.lanes)
    await bench.window.drained()


async def test_an_unwanted_event_without_the_value_is_no_barrier() -> None:
    """A collection or an operation that is not relayed holds up nothing."""
    bench = Bench(lanes=2, order=BY, operations=frozenset({"insert"}))
    held = bench.stuck()
    events = [change(0, "a", 0, "insert", 1), change(1, "a", 0, "delete", 1)]
    foreign = make_event(2, namespace=Namespace("elsewhere", "x"))
    async with asyncio.timeout(5):
        await bench.dispatcher.dispatch(Batch([*events, foreign], END))
    held.set()
    await bench.window.drained()


async def test_with_order_document_nothing_is_asked_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost time for each event."""
    bench = Bench()
    monkeypatch.setattr(bench.dispatcher, "_lacks_value", None)
    await bench.feed([change(number, "a", number, "insert", 1) for number in range(5)])
    assert len(bench.pipeline.finished) == 5
