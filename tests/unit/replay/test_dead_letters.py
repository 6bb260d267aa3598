"""Replaying dead letters: who is delivered, who is kept, and in which order. The store is a real one, in SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mess.config.model import Config, StepSpec
from mess.errors import Ambiguous, BatchError, EndpointDown, Refused, Response
from mess.event import Event, Namespace
from mess.relay.build import BuiltStep
from mess.replay.dead_letters import Replayer
from mess.replay.letter_results import Report
from mess.replay.routes import Ways
from mess.state import DeadLetter, Wanted
from mess.state.sqlite import SqliteStore
from mess.steps.base import Sink, Step, Transform
from tests.unit.fakes import Recorder, make_event, make_read

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "state.db", "mess")
    await opened.open()
    yield opened
    await opened.close()


def letter(number: int = 0, **changed: Any) -> DeadLetter:
    """Of the `number`-th event of a stream, refused by the step `http`."""
    event = make_event(number)
    return replace(
        DeadLetter(
            id=event.id,
            pipeline="shop",
            step="http",
            namespace=event.namespace,
            operation=event.operation,
            key=event.key,
            reason="answered 422",
            error="Refused",
            attempts=1,
            time=NOW,
            event=event.change,
            body={"number": number},
        ),
        **changed,
    )


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.body["number"] for event in events]


QUICK = {"retry": {"first": 0.001, "cap": 0.002, "max_attempts": 3}}


def replayer(
    store: SqliteStore,
    now: dict[str, str] | None = None,
    /,
    *,
    whole: bool = False,
    lanes: int | None = 1,
    order: str = "document",
    options: dict[str, Any] | None = None,
    **steps: dict[str, Step],
) -> Replayer:
    """A replayer through pipelines of these steps, which have `options` in the config; `now` says which pipeline each
    namespace has."""
    built = {
        pipeline: [
            BuiltStep(name, StepSpec.model_validate({"name": name, **QUICK, **(options or {})}), step)
            for name, step in some.items()
        ]
        for pipeline, some in steps.items()
    }
    names = {name: list(some) for name, some in steps.items()}
    ways = Ways(names, lambda namespace: (now or {}).get(str(namespace)), whole=whole)
    config = Config.model_validate({"databases": {"*": {}}, "concurrency": lanes, "order": order})
    return Replayer(config, built, store, ways)


async def replay(store: SqliteStore, steps: dict[str, Step], *, whole: bool = False) -> Report:
    """Replay everything through the pipeline `shop`."""
    return await replayer(store, whole=whole, shop=steps).run(await store.pointers())


class Mark(Transform):
    """Adds a field to the body; drops what `drop` says."""

    def __init__(self, drop: Callable[[Event], bool] = lambda event: False) -> None:
        self._drop = drop

    def apply(self, event: Event) -> Event | None:
        if self._drop(event):
            return None
        event.body = {**event.body, "marked": True}
        return event


class Picky(Sink):
    """Refuses batches that hold one of these numbers; as one, with a bare error, or by a BatchError for all."""

    def __init__(self, *bad: int, bare: bool = True) -> None:
        self._bad, self._bare = set(bad), bare
        self.delivered: list[Event] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        if self._bad & set(numbers(events)):
            error = Refused(f"refused {len(events)}", response=Response(400, "bad"))
            raise error if self._bare else BatchError(dict.fromkeys(range(len(events)), error))
        self.delivered.extend(events)


async def test_oldest_change_first_with_the_same_id_and_said_to_be_a_replay(store: SqliteStore) -> None:
    """Through the rest of the pipeline only; then the letters are gone."""
    sent = [letter(number) for number in (2, 0, 1)]
    await store.add_dead_letters(sent)
    sink = Recorder()
    report = await replay(store, {"mark": Mark(), "http": sink})
    assert report.complete
    assert report.delivered == 3
    assert numbers(sink.delivered) == [0, 1, 2]
    assert {event.id for event in sink.delivered} == {each.id for each in sent}
    assert all(event.replay and "marked" not in event.body for event in sink.delivered)
    assert await store.count_dead_letters() == 0


async def test_the_whole_pipeline_when_asked_for(store: SqliteStore) -> None:
    """With the change as it came, as when a step before the one that failed was fixed."""
    await store.add_dead_letters([letter(3, step="gone", body="<odd>")])
    sink = Recorder()
    assert (await replay(store, {"mark": Mark(), "http": sink}, whole=True)).complete
    assert sink.delivered[0].body["fullDocument"]["n"] == 3
    assert sink.delivered[0].body["marked"]


def letter_of_a_read(number: int, **changed: Any) -> DeadLetter:
    """Of an existing document, which has no resume token."""
    event = make_read(number, backfill="bf_7")
    parts = {"id": event.id, "operation": event.operation, "key": event.key, "event": event.change}
    return replace(letter(number), **parts, backfill=event.backfill, **changed)


@pytest.mark.parametrize("whole", [False, True])
async def test_an_existing_document_is_still_one_of_its_backfill(store: SqliteStore, whole: bool) -> None:
    """It has no resume token; its id comes from the letter."""
    sent = letter_of_a_read(3, body=letter_of_a_read(3).event)
    await store.add_dead_letters([sent])
    sink = Recorder()
    assert (await replay(store, {"http": sink}, whole=whole)).complete
    [event] = sink.delivered
    assert (event.id, event.operation, event.backfill, event.document) == (sent.id, "read", "bf_7", "exact")
    assert event.body["fullDocument"]["n"] == 3
    assert await store.count_dead_letters() == 0


@pytest.mark.parametrize("whole", [False, True])
async def test_an_existing_document_for_one_step_goes_to_no_other(store: SqliteStore, whole: bool) -> None:
    """Steps before that one that do not deliver still make its body."""
    await store.add_dead_letters([letter_of_a_read(3, only="http", body={"number": 3})])
    steps: dict[str, Step] = {"first": Recorder(), "mark": Mark(), "http": Recorder(), "last": Recorder()}
    assert (await replay(store, steps, whole=whole)).complete
    assert [len(step.delivered) for step in steps.values() if isinstance(step, Recorder)] == [0, 1, 0]
    assert steps["http"].delivered[0].body.get("marked", False) is whole  # type: ignore[attr-defined]


async def test_an_existing_document_for_a_step_that_is_gone_goes_through_the_whole_pipeline(store: SqliteStore) -> None:
    """Otherwise its letter would be deleted although nobody has received it."""
    await store.add_dead_letters([letter_of_a_read(3, only="gone", step="gone")])
    sink = Recorder()
    through = replayer(store, {"shop.orders": "shop"}, shop={"http": sink})
    assert (await through.run(await store.pointers())).delivered == 1
    assert len(sink.delivered) == 1


@pytest.mark.parametrize(("looked_up", "document"), [(True, "lookup"), (False, "exact"), (None, None)])
async def test_an_updates_document_is_what_it_was(
    store: SqliteStore, looked_up: bool | None, document: str | None
) -> None:
    """Letters of earlier versions do not say."""
    update = make_event(1, operation="update")
    await store.add_dead_letters([letter(1, operation="update", event=update.change, looked_up=looked_up)])
    sink = Recorder()
    assert (await replay(store, {"http": sink})).complete
    assert [event.document for event in sink.delivered] == [document]


@pytest.mark.parametrize("bare", [True, False])
async def test_a_batch_refused_as_one_is_halved(store: SqliteStore, bare: bool) -> None:
    """Until those that are to blame are found; they keep their letters with what the sink answered."""
    await store.add_dead_letters([letter(number) for number in range(9)])
    sink = Picky(2, 7, bare=bare)
    report = await replay(store, {"http": sink})
    assert (report.delivered, report.failed) == (7, 2)
    assert sorted(numbers(sink.delivered)) == [0, 1, 3, 4, 5, 6, 8]
    kept = [await store.dead_letter(make_event(number).id) for number in (2, 7)]
    assert [each.body["number"] for each in kept if each] == [2, 7]
    assert kept[0] is not None
    assert (kept[0].reason, kept[0].time) == ("refused 1", NOW)
    assert kept[0].attempts == 1 + len(kept[0].history)
    *_, attempt = kept[0].history
    assert (attempt.error, attempt.reason, attempt.status, attempt.response) == ("Refused", "refused 1", 400, "bad")


async def test_some_fail_each_for_itself_and_some_are_untried(store: SqliteStore) -> None:
    """The untried are given to the step again; what fails is retried as often as `retry` says."""
    await store.add_dead_letters([letter(number) for number in range(4)])

    class Stumbling(Sink):
        def __init__(self) -> None:
            self.calls: list[list[int]] = []

        async def deliver(self, events: Sequence[Event]) -> None:
            self.calls.append(numbers(events))
            if 1 in self.calls[-1]:
                at = self.calls[-1].index(1)
                raise BatchError({at: Ambiguous("answered 500")}, untried=events[at + 1 :])

    sink = Stumbling()
    report = await replay(store, {"http": sink})
    assert (report.delivered, report.failed, report.first_failure) == (3, 1, "answered 500")
    assert sink.calls == [[0, 1, 2, 3], [2, 3], [1], [1]]
    [kept] = [await store.dead_letter(pointer.id) for pointer in await store.pointers()]
    assert kept is not None
    assert (kept.id, kept.attempts) == (make_event(1).id, 1 + 3)
    assert [attempt.reason for attempt in kept.history] == ["answered 500"] * 3


async def test_retry_applies(store: SqliteStore) -> None:
    """An event that fails now and then is delivered, and later ones of its document wait for it."""
    same = make_event(0).key
    letters = [letter(number, event={**make_event(number).change, "documentKey": same}) for number in range(3)]
    await store.add_dead_letters([*letters, letter(3)])
    sink = Recorder(Ambiguous("answered 500"), Ambiguous("answered 500"), max_events=1)
    report = await replay(store, {"http": sink})
    assert (report.delivered, report.complete) == (4, True)
    assert [number for number in numbers(sink.delivered) if number != 3] == [0, 1, 2]


async def test_concurrency_and_rate_limit_apply(store: SqliteStore) -> None:
    """Requests run concurrently up to the limit, and begin no faster than the rate."""
    await store.add_dead_letters([letter(number) for number in range(12)])

    class Busy(Recorder):
        now = most = 0

        async def deliver(self, events: Sequence[Event]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            await super().deliver(events)

    sink = Busy(max_events=1)
    limited = replayer(store, shop={"http": sink}, options={"concurrency": 3, "rate_limit": 100.0}, lanes=None)
    began = time.monotonic()
    assert (await limited.run(await store.pointers())).delivered == 12
    assert sink.most <= 3
    assert time.monotonic() - began >= 11 / 100

    # So many that each of the three lanes has some, whatever their keys.
    await store.add_dead_letters([letter(number) for number in range(60)])
    sink = Busy(max_events=1)
    free = replayer(store, shop={"http": sink}, options={"concurrency": 3}, lanes=None)
    assert (await free.run(await store.pointers())).delivered == 60
    assert sink.most == 3


async def test_an_event_that_the_step_has_nothing_to_do_for_bypasses_it(store: SqliteStore) -> None:
    class Inserts(Recorder):
        def carries(self, event: Event) -> bool:
            return event.operation == "insert"

    await store.add_dead_letters(
        [letter(0), letter(1, operation="delete", event=make_event(1, operation="delete").change)]
    )
    first, second = Inserts(), Recorder()
    assert (await replay(store, {"http": first, "http 2": second})).delivered == 2
    assert numbers(first.delivered) == [0]
    assert sorted(numbers(second.delivered)) == [0, 1]


async def test_events_behind_one_that_was_left_are_left_too(store: SqliteStore) -> None:
    """Whatever step they are at, and when they come in a later batch."""
    letters = [letter(n, body={"number": n, "region": "us" if n == 0 else "eu"}) for n in range(600)]
    letters[599] = replace(letters[599], event={**letters[599].event, "documentKey": letters[0].event["documentKey"]})
    await store.add_dead_letters(letters)
    sink = Regional(50, "us")
    report = await replay(store, {"http": sink})
    assert report.down == {"shop": ("us refuses connections", 2)}
    assert report.delivered == 598
    assert 599 not in sink.taken


async def test_order_none_leaves_only_the_letters_for_what_is_down(store: SqliteStore) -> None:
    """However many events there are: without an order, no event is behind another."""
    regions = ["us" if n % 3 == 0 else "eu" for n in range(2000)]
    await store.add_dead_letters([letter(n, body={"number": n, "region": region}) for n, region in enumerate(regions)])
    sink = Regional(50, "us")
    report = await replayer(store, order="none", shop={"http": sink}).run(await store.pointers())
    assert report.delivered == regions.count("eu")
    assert report.down == {"shop": ("us refuses connections", regions.count("us"))}


async def test_any_other_exception_is_the_events_fault(store: SqliteStore) -> None:
    """As it is to the relay."""
    await store.add_dead_letters([letter()])
    report = await replay(store, {"http": Recorder(*[RuntimeError("oops")] * 3)})
    assert (report.failed, report.first_failure) == (1, "RuntimeError: oops")


async def test_failing_at_a_later_step(store: SqliteStore) -> None:
    """The letter moves there with the body that the step was given, so that the next replay begins there."""
    await store.add_dead_letters([letter()])
    first, second = Recorder(), Recorder(Refused("no"))
    steps: dict[str, Step] = {"http": first, "mark": Mark(), "http 2": second}
    assert (await replay(store, steps)).failed == 1
    [pointer] = await store.pointers()
    assert pointer.step == "http 2"
    assert (await replay(store, steps)).complete
    assert len(first.delivered) == 1
    assert second.delivered[0].body == {"number": 0, "marked": True}


async def test_dropped_on_the_way_is_done(store: SqliteStore) -> None:
    """The pipeline wants nothing more of it."""
    await store.add_dead_letters([letter(0, step="mark"), letter(1, step="mark")])
    sink = Recorder()
    report = await replay(store, {"mark": Mark(lambda event: event.body["number"] == 0), "http": sink})
    assert report.delivered == 2
    assert numbers(sink.delivered) == [1]
    assert await store.count_dead_letters() == 0


async def test_letters_of_different_steps_keep_their_order(store: SqliteStore) -> None:
    """At each step, those that come from before it and those that begin there."""
    await store.add_dead_letters([letter(0, step="mark"), letter(1), letter(2, step="mark")])
    sink = Recorder()
    assert (await replay(store, {"mark": Mark(), "http": sink})).complete
    assert numbers(sink.delivered) == [0, 1, 2]


async def test_a_sink_that_is_down_ends_its_pipeline_and_no_other(store: SqliteStore) -> None:
    """Letters that were not delivered stay as they were."""
    await store.add_dead_letters([letter(number) for number in range(3)])
    await store.add_dead_letters([letter(9, pipeline="crm")])
    down, up = Recorder(max_events=1), Recorder()
    down.failures = [EndpointDown("answered 503")]
    report = await replayer(store, shop={"http": down}, crm={"http": up}).run(await store.pointers())
    assert report.down == {"shop": ("answered 503", 3)}
    assert report.delivered == 1
    left = await store.dead_letter(make_event(0).id)
    assert left is not None
    assert (left.reason, left.attempts, left.history) == ("answered 422", 1, ())


class Regional(Sink):
    """Sends each event to its region's destination; `down` are those that do not answer."""

    def __init__(self, size: int, *down: str) -> None:
        self.max_events = size
        self.down = down
        self.taken: list[int] = []
        self.asked = 0

    def destination(self, event: Event) -> str:  # type: ignore[override]
        return str(event.body["region"])

    async def deliver(self, events: Sequence[Event]) -> None:
        self.asked += 1
        failed = {
            index: EndpointDown(f"{place} refuses connections")
            for index, event in enumerate(events)
            if (place := self.destination(event)) in self.down
        }
        self.taken += [event.body["number"] for index, event in enumerate(events) if index not in failed]
        if failed:
            raise BatchError(failed)


@pytest.mark.parametrize("size", [1, 3, 500])
async def test_one_destination_that_is_down_keeps_no_letter_from_the_others(store: SqliteStore, size: int) -> None:
    regions = ["eu", "us", "eu", "us", "asia", "eu"]
    letters = [letter(n, body={"number": n, "region": region}) for n, region in enumerate(regions)]
    # The last one is of the same document as the first, and for a destination that works.
    letters[5] = replace(letters[5], event={**letters[5].event, "documentKey": letters[0].event["documentKey"]})
    letters[0] = replace(letters[0], body={"number": 0, "region": "us"})
    await store.add_dead_letters(letters)
    sink = Regional(size, "us")
    report = await replay(store, {"http": sink})
    assert sorted(sink.taken) == [2, 4]
    assert report.delivered == 2
    assert report.down == {"shop": ("us refuses connections", 4)}
    assert report.interrupted == 0
    assert not report.complete
    assert size > 1 or sink.asked == 3, "what is known to be down is not asked again"
    sink.down = ()
    again = await replay(store, {"http": sink})
    assert sorted(sink.taken) == list(range(6))
    assert again.complete


async def test_a_sink_that_cannot_be_opened_is_down(store: SqliteStore) -> None:
    """A broker that is away says so when it is connected to."""

    class Away(Recorder):
        async def open(self) -> None:
            raise EndpointDown("no broker")

    await store.add_dead_letters([letter()])
    assert (await replay(store, {"http": Away()})).down == {"shop": ("no broker", 1)}


async def test_stopping_in_order(store: SqliteStore) -> None:
    """What is on its way is finished and settled; the rest is left, that of other pipelines too."""
    await store.add_dead_letters([letter(number) for number in range(5)] + [letter(9, pipeline="crm")])

    class Stopping(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            await super().deliver(events)
            if len(self.delivered) == 2:
                replaying.stop()

    told: list[int] = []
    replaying = replayer(store, shop={"http": Stopping(max_events=1)}, crm={"http": Recorder()})
    report = await replaying.run(await store.pointers(), told.append)
    assert (report.delivered, report.interrupted, report.complete) == (2, 4, False)
    assert sum(told) == 2
    assert await store.count_dead_letters() == 4


class Slow(SqliteStore):
    """Takes its time to read, and to delete what is delivered."""

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        await asyncio.sleep(0.002)
        return await super().dead_letter(id)

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        await asyncio.sleep(0.4)
        return await super().delete_unchanged(letters)


@pytest.fixture
async def slow(store: SqliteStore, tmp_path: Path) -> AsyncIterator[Slow]:
    opened = Slow(tmp_path / "state.db", "mess")
    await opened.open()
    yield opened
    await opened.close()


async def test_letters_that_are_being_deleted_at_the_end_are_gone_and_counted(slow: Slow) -> None:
    """The end waits for it."""
    await slow.add_dead_letters([letter(number) for number in range(15)])

    class Steady(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            await super().deliver(events)
            await asyncio.sleep(0.03)

    report = await replay(slow, {"http": Steady(max_events=1)})
    assert (report.delivered, report.changed) == (15, 0)
    assert await slow.count_dead_letters() == 0


async def test_a_letter_that_is_being_read_when_the_sink_is_down_counts_as_left(slow: Slow) -> None:
    """Every letter is counted, wherever it was."""
    count = 20
    letters = [letter(number, body={"number": number, "fill": "x" * 300_000}) for number in range(count)]
    await slow.add_dead_letters(letters)

    class Down(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            await asyncio.sleep(0.003)
            raise EndpointDown("answered 503")

    report = await replayer(slow, shop={"http": Down(max_events=1)}, lanes=1).run(await slow.pointers())
    assert report.down == {"shop": ("answered 503", count)}


async def test_letters_left_beside_others_that_are_stopped_count_once(store: SqliteStore) -> None:
    """One waits for its turn when the replay ends; another of the same batch was left for its destination."""
    regions = ["us", "eu", "us", "eu"]
    await store.add_dead_letters([letter(n, body={"number": n, "region": region}) for n, region in enumerate(regions)])
    replaying = replayer(store, shop={"http": Regional(2, "us")}, options={"rate_limit": 1.0})
    running = asyncio.create_task(replaying.run(await store.pointers()))
    await asyncio.sleep(0.5)
    replaying.stop()
    report = await running
    assert (report.delivered, report.interrupted) == (1, 1)
    assert report.down == {"shop": ("us refuses connections", 2)}


async def test_no_letter_waits_as_long_as_a_sink_asks_for(store: SqliteStore) -> None:
    """Not even one that failed in another way before: it is left, and the replay ends."""
    await store.add_dead_letters([letter(number) for number in range(2)])

    class Overloaded(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            if numbers(events) == [0]:
                raise EndpointDown("answered 429", 300.0) if self.delivered else Ambiguous("answered 500")
            await super().deliver(events)

    async with asyncio.timeout(5):
        report = await replay(store, {"http": Overloaded(max_events=1)})
    assert (report.delivered, report.down) == (1, {"shop": ("answered 429", 1)})


async def test_an_event_that_mongodb_had_split_keeps_its_id(store: SqliteStore) -> None:
    """Its id is its first part's, while the change as it is kept has the token of its last."""
    await store.add_dead_letters([letter(id="msg_FIRST")])
    sink = Recorder()
    assert (await replay(store, {"http": sink})).complete
    assert sink.delivered[0].id == "msg_FIRST"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"pipeline": "crm"},
            "pipeline 'crm' is no longer in the config, and shop.orders has none now; choose one with "
            "--through: 'shop'",
        ),
        ({"step": "http 2"}, "pipeline 'shop' no longer has a step 'http 2', and shop.orders has none now"),
        ({"pipeline": "", "step": "capture", "event": {"_id": {}}}, "could not be read from MongoDB"),
        ({"event": {"_id": {"_data": "82"}}}, "could not be read from MongoDB"),
        ({"body": {1, 2}}, "kept only as Python shows it"),
    ],
)
async def test_what_cannot_be_replayed_is_kept_and_told(store: SqliteStore, changed: dict[str, Any], told: str) -> None:
    """Beside others that can."""
    await store.add_dead_letters([letter(0, **changed), letter(1)])
    report = await replay(store, {"http": Recorder()})
    [(reason, count)] = report.kept.items()
    assert told in reason
    assert (count, report.delivered, report.complete) == (1, 1, False)
    assert [pointer.id for pointer in await store.pointers()] == [make_event(0).id]


async def test_beside_a_relay_that_gives_up_again(store: SqliteStore) -> None:
    """At another step, while the event is being delivered: that letter is not this one's to delete."""

    class Meanwhile(Recorder):
        async def deliver(self, events: Sequence[Event]) -> None:
            await super().deliver(events)
            await store.add_dead_letters([letter(0, step="http 2")])
            await store.delete_dead_letters(Wanted(ids=(make_event(1).id,)))

    await store.add_dead_letters([letter(0), letter(1)])
    report = await replay(store, {"http": Meanwhile()})
    assert (report.delivered, report.changed) == (2, 2)
    [pointer] = await store.pointers()
    assert pointer[:3] == (make_event(0).id, "shop", "http 2")


async def test_more_than_a_chunk(store: SqliteStore) -> None:
    """By as many as a step is given at a time, each settled before the next is read."""
    await store.add_dead_letters([letter(number) for number in range(1100)])
    sink = Recorder()
    report = await replay(store, {"http": sink})
    assert report.delivered == 1100
    assert [len(call) for call in sink.calls] == [500, 500, 100]
    assert numbers(sink.delivered) == list(range(1100))


class Firewall(Sink):
    """Says that it is down to requests that hold one of these numbers; the event may be the cause."""

    def __init__(self, bad: Callable[[int], bool], size: int) -> None:
        self.max_events = size
        self._bad = bad
        self.calls = 0
        self.delivered: list[Event] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        self.calls += 1
        if any(map(self._bad, numbers(events))):
            raise EndpointDown("answered 403", event_may_be_cause=True)
        self.delivered.extend(events)


@pytest.mark.parametrize("size", [1, 5])
async def test_a_letter_that_still_gets_a_403_does_not_keep_the_others_from_their_replay(
    store: SqliteStore, size: int
) -> None:
    """It is what such letters got before; only it fails again."""
    await store.add_dead_letters([letter(number) for number in range(30)])
    sink = Firewall(lambda number: number in (3, 11), size)
    report = await replay(store, {"http": sink})
    assert (report.delivered, report.failed, report.down) == (28, 2, {})
    assert sorted(numbers(sink.delivered)) == [number for number in range(30) if number not in (3, 11)]
    assert await store.count_dead_letters() == 2


async def test_many_letters_that_still_get_a_403_do_not_either(store: SqliteStore) -> None:
    """As long as others are delivered between them."""
    await store.add_dead_letters([letter(number) for number in range(60)])
    sink = Firewall(lambda number: number % 2 == 1, 1)
    report = await replayer(store, shop={"http": sink}, lanes=4).run(await store.pointers())
    assert (report.delivered, report.failed, report.down) == (30, 30, {})


@pytest.mark.parametrize("size", [1, 5])
async def test_a_sink_that_answers_403_to_all_is_down_for_a_replay_too(store: SqliteStore, size: int) -> None:
    """After ten different events; all keep their letters as they were."""
    await store.add_dead_letters([letter(number) for number in range(200)])
    sink = Firewall(lambda number: True, size)
    report = await replay(store, {"http": sink})
    assert (report.delivered, report.failed) == (0, 0)
    assert report.down == {"shop": ("answered 403", 200)}
    kept = await store.dead_letter(make_event(0).id)
    assert kept is not None
    assert (kept.reason, kept.attempts) == ("answered 422", 1)
    assert sink.calls < 40


async def test_a_letter_whose_pipeline_is_gone_goes_through_its_namespaces_own(store: SqliteStore) -> None:
    """Through all of its steps, with the change as it came; one whose pipeline and step are there goes on where it
    stopped, with the stored body."""
    lines = Namespace("shop", "lines")
    await store.add_dead_letters([letter(0, pipeline="old"), letter(1), letter(2, pipeline="old", namespace=lines)])
    await store.add_dead_letters([letter(3, step="gone")])
    shop, crm = Recorder(), Recorder()
    now = {"shop.orders": "crm", "shop.lines": "shop"}
    replaying = replayer(store, now, shop={"mark": Mark(), "http": shop}, crm={"mark": Mark(), "http": crm})
    ways = [await replaying.way(pointer) for pointer in await store.pointers()]
    assert [(way.pipeline, way.first, way.whole) for way in ways] == [
        ("crm", 0, True),
        ("shop", 1, False),
        ("shop", 0, True),
        ("crm", 0, True),
    ]
    assert [way.why for way in ways] == [
        "pipeline 'old' is no longer in the config",
        "",
        "pipeline 'old' is no longer in the config",
        "pipeline 'shop' no longer has a step 'gone'",
    ]
    assert (await replaying.run(await store.pointers())).complete
    assert [event.body["fullDocument"]["n"] for event in crm.delivered if event.body["marked"]] == [0, 3]
    assert [event.body.get("number", "whole") for event in shop.delivered] == [1, "whole"]
    assert await store.count_dead_letters() == 0


async def test_one_that_fails_on_its_new_way_belongs_there(store: SqliteStore) -> None:
    """So that the next replay goes on from there."""
    await store.add_dead_letters([letter(0, pipeline="old")])
    sink = Recorder(Refused("no"))
    replaying = replayer(store, {"shop.orders": "shop"}, shop={"mark": Mark(), "http": sink})
    assert (await replaying.run(await store.pointers())).failed == 1
    [pointer] = await store.pointers()
    assert (pointer.pipeline, pointer.step) == ("shop", "http")
    assert (await replaying.way(pointer)).first == 1
    assert (await replaying.run([pointer])).complete
    assert sink.delivered[0].body["marked"]


async def test_a_renamed_collection_that_is_watched_under_its_new_name_only(store: SqliteStore) -> None:
    to = {"db": "shop", "coll": "bills"}
    event = make_event(0, operation="rename", to=to)
    sent = letter(0, pipeline="old", operation="rename", event=event.change, key=None)
    await store.add_dead_letters([sent])
    sink = Recorder()
    replaying = replayer(store, {"shop.bills": "shop"}, shop={"http": sink})
    assert (await replaying.run(await store.pointers())).complete
    assert [one.body["to"] for one in sink.delivered] == [to]


async def test_another_pipeline_can_be_chosen(store: SqliteStore) -> None:
    """For letters whose own pipeline is there, too; a letter of the chosen one goes on where it stopped."""
    await store.add_dead_letters([letter(0), letter(1, pipeline="old"), letter(2, pipeline="crm")])
    ways = Ways({"shop": ["mark", "http"], "crm": ["mark", "http"]}, lambda namespace: None, through="crm")
    found = [ways.of(pointer) for pointer in await store.pointers()]
    assert [(way.first, way.whole) for way in found] == [(0, True), (0, True), (1, False)]
    assert {way.pipeline for way in found} == {"crm"}


async def test_order_by_a_value_holds_for_letters_too(store: SqliteStore) -> None:
    """Behind one that is left, later ones with its value are left as well, of whichever document; others are not."""

    class Down(Sink):
        """Is down for the first event of account 1; slow."""

        delivered: list[int] = []  # noqa: RUF012

        def __init__(self) -> None:
            self.destination = lambda event: str(event.change["fullDocument"]["place"])

        async def deliver(self, events: Sequence[Event]) -> None:
            await asyncio.sleep(0)
            if any(event.change["fullDocument"]["place"] == "down" for event in events):
                raise EndpointDown("down")
            self.delivered += numbers(events)

    letters = []
    for number in range(12):
        one = letter(number)
        document = {"account": number % 3, "place": "down" if number == 1 else "up"}
        letters.append(replace(one, event={**one.event, "fullDocument": document}))
    await store.add_dead_letters(letters)
    sink = Down()
    sink.max_events = 1
    by: Any = {"by": "fullDocument.account"}
    report = await replayer(store, order=by, lanes=4, shop={"http": sink}).run(await store.pointers())
    for account in (0, 2):
        assert [number for number in sink.delivered if number % 3 == account] == [*range(account, 12, 3)]
    assert not [number for number in sink.delivered if number % 3 == 1]
    assert report.delivered == 8
