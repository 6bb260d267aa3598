"""What becomes of events, whatever a receiver answers and however long, against the promises of docs/delivery.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from mess.capture.tokens import position_after
from mess.errors import Stopped
from mess.event import Event
from mess.relay import dispatch
from mess.steps.base import Step
from tests import clock
from tests.fuzz.model import Delivery, check, check_knocking, check_rate
from tests.fuzz.profiles import examples
from tests.fuzz.receivers import HANGS_UP, TIMEOUT, Answer, Outage, Receiver, Script, published, webhook
from tests.fuzz.stream import Stream
from tests.unit.fakes import make_event

KEYS = 4
KINDS = ("http", "batch", "queue", "topics")
statuses = st.sampled_from([204, 200, 302, 403, 404, 429, 502, 503, 500, 501, 408, 400, 413, 422, HANGS_UP])


def answers(*retry_after: int) -> st.SearchStrategy[Answer]:
    return st.builds(
        Answer,
        status=statuses,
        after=st.sampled_from([0.0, 0.0, 0.01, 0.5, 5.0, TIMEOUT]),
        retry_after=st.none() | st.sampled_from(retry_after),
    )


scripts = st.tuples(
    st.lists(st.tuples(answers(0, 1, 10, 100, 10_000), st.sampled_from([1, 1, 2, 5, 12])), max_size=3), st.booleans()
)
outages = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 3.0, 40.0]), st.sampled_from([0.1, 5.0, 60.0, 1000.0]), answers(10, 100, 10_000)
    ),
    max_size=2,
)
options = st.fixed_dictionaries(
    {
        "on_failure": st.sampled_from(["dead_letter", "dead_letter", "skip", "stop"]),
        "concurrency": st.sampled_from([4, 1, 2, None]),
        "rate_limit": st.sampled_from([None, None, 1.0, 20.0]),
        "retry": st.fixed_dictionaries(
            {
                "max_attempts": st.sampled_from([10, 1, 2, 3, None]),
                "first": st.sampled_from([0.2, 1.0]),
                "min_age": st.sampled_from([300.0, 300.0, 0.0, 5.0]),
                "max_age": st.sampled_from([None, None, 1.0, 20.0]),
            }
        ),
        "probe": st.fixed_dictionaries(
            {
                "first": st.sampled_from([0.25, 1.0]),
                "max_retry_after": st.sampled_from([300.0, 5.0]),
                "suspect_after": st.sampled_from([10, 1, 3]),
                "refusing_after": st.sampled_from([100, 1, 3, None]),
            }
        ),
    }
)


@dataclass(frozen=True)
class Sink:
    """What events meet at a step with these options: for each event the answers, each so many times, and whether the
    last one holds for ever."""

    scripts: Sequence[tuple[Sequence[tuple[Answer, int]], bool]]
    outages: Sequence[tuple[float, float, Answer]]
    options: dict[str, Any]


@dataclass(frozen=True)
class World:
    """Events by their keys, None for a barrier, each some seconds behind the one before; what is kept in order; and the
    sinks that they go through, which take everything in the end."""

    events: Sequence[tuple[float, int | None]]
    order: str
    well_after: float
    sinks: Sequence[Sink]


MOST = 12
arrivals = st.tuples(
    st.sampled_from([0.0, 0.0, 0.0, 0.1, 7.0, 60.0]), st.sampled_from([*range(KEYS), *range(KEYS), None])
)
sinks = st.builds(Sink, st.lists(scripts, min_size=MOST, max_size=MOST), outages, options)


def worlds(number: int) -> st.SearchStrategy[World]:
    """With so many sinks."""
    return st.builds(
        World,
        st.lists(arrivals, min_size=1, max_size=MOST),
        st.sampled_from(["document", "document", "none"]),
        st.sampled_from([10.0, 100.0]),
        st.lists(sinks, min_size=number, max_size=number),
    )


def deliver(world: World, *kinds: str) -> list[Delivery]:
    """Let the world have its way, to the end; what happened at each of its sinks."""
    lines = count(KEYS)

    # The hashes of texts, and with them the lanes, would be others in each run.
    def ordering_key(event: Event, order: str) -> int:
        if event.key is None:
            return 0
        return event.key["_id"] if order == "document" else next(lines)

    with patch.object(dispatch, "ordering_key", ordering_key):
        return clock.run(_deliver(world, kinds))


async def _deliver(world: World, kinds: Sequence[str]) -> list[Delivery]:
    events = [
        make_event(number, key=key) if key is not None else make_event(number, operation="drop")
        for number, (_, key) in enumerate(world.events)
    ]
    by_id = {event.id: event for event in events}
    receivers = [
        receiver(sink, events, world.well_after, lambda ids: not_passed(stream, [by_id[id_] for id_ in ids]))
        for sink in world.sinks
    ]
    stream = Stream(
        *[
            (await step(kind, receiver, number), sink.options)
            for number, (kind, receiver, sink) in enumerate(zip(kinds, receivers, world.sinks, strict=True))
        ],
        order=world.order,
    )
    stopped = False
    try:
        await stream.take([(pause, [event]) for event, (pause, _) in zip(events, world.events, strict=True)], 10**5)
    except Stopped:
        stopped = True
    well = max(receiver.well_from for receiver in receivers) + sum(pause for pause, _ in world.events)
    assert time.monotonic() - well <= sum(longest(sink, len(events)) for sink in world.sinks), "too long to go on"
    letters = stream.letters.kept
    assert len({letter.id for letter in letters}) == len(letters)
    keys = {event.id: key for event, (_, key) in zip(events, world.events, strict=True)}
    own_keys = keys
    if world.order == "none":
        keys = {id_: None if key is None else number for number, (id_, key) in enumerate(keys.items())}
    return [
        Delivery(
            keys,
            receiver.requests,
            {letter.id: letter.attempts for letter in letters if letter.step == f"step {number}"},
            sink.options,
            stopped,
            "queue" if kind == "topics" else kind,
            {id_: kind == "topics" and key for id_, key in own_keys.items()},
        )
        for number, (sink, receiver, kind) in enumerate(zip(world.sinks, receivers, kinds, strict=True))
    ]


def receiver(
    sink: Sink, events: Sequence[Event], well_after: float, watch: Callable[[Sequence[str]], None]
) -> Receiver:
    now = time.monotonic()
    return Receiver(
        {event.id: script(*given) for event, given in zip(events, sink.scripts, strict=False)},
        [Outage(now + begins, now + begins + lasts, answer) for begins, lasts, answer in sink.outages],
        now + max([well_after, *(begins + lasts for begins, lasts, _ in sink.outages)]),
        watch,
    )


def longest(sink: Sink, events: int) -> float:
    """Seconds that a sink may hold events for, once it takes everything."""
    retry_after, rate = sink.options["probe"]["max_retry_after"], sink.options["rate_limit"]
    return float(2 * TIMEOUT + max(30.0, retry_after) + 5.0 + events / (rate or 20.0) + 1)


def script(runs: Sequence[tuple[Answer, int]], for_ever: bool) -> Script:
    return Script([answer for answer, times in runs for _ in range(times)], for_ever and bool(runs))


async def step(kind: str, receiver: Receiver, number: int) -> Step:
    if kind == "queue":
        return await published(receiver)
    if kind == "topics":  # one for each document
        return await published(receiver, "topic {documentKey._id|none}")
    return await webhook(receiver, 3 if kind == "batch" else None, number)


def not_passed(stream: Stream, events: Sequence[Event]) -> None:
    """No checkpoint lies behind an event that is still sent."""
    position = stream.window.position
    if position is not None and position.time is not None:
        times = [position_after(event).time for event in events]
        assert all(time is not None and position.time < time for time in times)


@examples(200)
@given(worlds(1))
def test_events_one_by_one(world: World) -> None:
    [delivery] = deliver(world, "http")
    check(delivery)
    check_rate(delivery)
    check_knocking(delivery)


poison = st.builds(
    Answer,
    status=st.sampled_from([403, 403, 502, 404, HANGS_UP, 429, 503, 500]),
    retry_after=st.sampled_from([None, None, None, 10]),
)
suspects = st.builds(
    World,
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 7.0, 60.0]), st.integers(0, 9)), min_size=4, max_size=MOST),
    st.just("document"),
    st.just(300.0),
    st.lists(
        st.builds(
            Sink,
            # Most are taken at once, and show that the sink is well; the others fail for ever, or nearly.
            st.lists(
                st.one_of(
                    st.just(((), False)),
                    st.tuples(
                        st.lists(st.tuples(poison, st.sampled_from([1, 2, 5])), min_size=1, max_size=2), st.just(True)
                    ),
                    st.tuples(
                        st.lists(st.tuples(poison, st.sampled_from([3, 12])), min_size=1, max_size=3), st.just(False)
                    ),
                ),
                min_size=MOST,
                max_size=MOST,
            ),
            st.just(()),
            st.builds(
                lambda most, min_age, suspect, lanes: {
                    "on_failure": "dead_letter",
                    "concurrency": lanes,
                    "rate_limit": None,
                    "retry": {"max_attempts": most, "min_age": min_age, "first": 0.2, "max_age": None},
                    "probe": {
                        "first": 0.25,
                        "max_retry_after": 300.0,
                        "suspect_after": suspect,
                        "refusing_after": None,
                    },
                },
                st.sampled_from([1, 2, 3]),
                st.sampled_from([0.0, 5.0, 30.0]),
                st.sampled_from([2, 3, 10]),
                st.sampled_from([1, 2, 4]),
            ),
        ),
        min_size=1,
        max_size=1,
    ),
)


@examples(100, shrink=False)
@given(suspects)
def test_events_that_may_be_the_cause_of_what_they_get(world: World) -> None:
    """They are given up only when the rule says so: see the model."""
    [delivery] = deliver(world, "http")
    check(delivery)
    check_knocking(delivery)


@examples(100)
@given(worlds(1))
def test_events_in_batches(world: World) -> None:
    [delivery] = deliver(world, "batch")
    check(delivery)


@examples(100)
@given(worlds(1))
def test_messages_to_a_broker(world: World) -> None:
    [delivery] = deliver(world, "queue")
    check(delivery)


@examples(100)
@given(worlds(1))
def test_messages_to_several_topics_of_a_broker(world: World) -> None:
    [delivery] = deliver(world, "topics")
    check(delivery)


@examples(100)
@given(worlds(2), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_one_sink_after_another(world: World, first: str, second: str) -> None:
    check(*deliver(world, first, second))
