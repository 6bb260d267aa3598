"""Live tails: what they show, what they leave out, and what they cost."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Sequence
from typing import Any

import pytest

from mess.errors import Ambiguous, Refused
from mess.event import Event, Namespace
from mess.telemetry.metrics import Metrics
from mess.telemetry.tail.client import MOST_BYTES, MOST_EVENTS, TailClient, Total
from mess.telemetry.tail.filter import TailFilter
from mess.telemetry.tail.path import BODY_MAX, StepName
from mess.telemetry.tail.selection import PER_SECOND
from mess.telemetry.tail.tail import Tail
from tests.unit.fakes import make_event, make_events, make_read

EVERYTHING = TailFilter()
BODIES = TailFilter(bodies=True)
STEPS = (StepName("map", sink=False), StepName("only-vips", sink=False), StepName("http", sink=True))


class Flow:
    """A relay's observers, which are told what a relay would tell them."""

    def __init__(self) -> None:
        self.metrics = Metrics("1.0")
        self.tail = Tail(self.metrics)
        self.tail.arrange({"shop": STEPS}, lambda namespace: "shop")
        self.stream = self.tail.stream("shop")
        self.pipeline = self.tail.pipeline("shop")
        self.steps = {step.name: self.tail.step("shop", step.name) for step in STEPS}

    def deliver(self, events: Sequence[Event]) -> None:
        """Let events go through all steps, of which the first replaces their bodies."""
        self.stream.read(events)
        for name, step in self.steps.items():
            if name == "map":
                for event in events:
                    event.body = {"mapped": event.id}
            step.attempted(events, 0.25)
            step.delivered(events)
        self.pipeline.finished(events, delivered=True)

    def give_up(self, event: Event, *, stored: bool, failures: int = 2) -> None:
        """Let the last step refuse an event."""
        self.stream.read([event])
        step = self.steps["http"]
        for _ in range(failures):
            step.attempted([event], 0.1)
            step.failed([event], Refused("422: no"))
        step.given_up([event], Refused("422: no"), stored=stored)
        self.pipeline.finished([event], delivered=False)

    def drop(self, event: Event) -> None:
        """Let the second step drop an event."""
        self.stream.read([event])
        self.steps["map"].attempted([event], 0.1)
        self.steps["map"].delivered([event])
        self.steps["only-vips"].attempted([event], 0.1)
        self.steps["only-vips"].dropped(1)
        self.pipeline.finished([event], delivered=False)


async def shown(client: TailClient, count: int = 1) -> list[dict[str, Any]]:
    """The next events of a client."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        await client.wait(5)
        frames = client.take(MOST_BYTES)
        assert frames, f"only {len(found)} of {count} came"
        found += [json.loads(frame.split(b"\ndata: ")[1]) for frame in frames]
    return found


async def nothing(client: TailClient) -> None:
    """Nothing comes."""
    await client.wait(0.3)
    assert not client.take(MOST_BYTES)


async def test_one_events_path() -> None:
    """With its body and the time after each step; a body appears where it changes."""
    flow = Flow()
    event = make_event(7)
    with flow.tail.watch(BODIES) as client:
        flow.deliver([event])
        (found,) = await shown(client)
    assert {key: found[key] for key in ("id", "namespace", "operation", "stream", "pipeline", "outcome")} == {
        "id": event.id,
        "namespace": "shop.orders",
        "operation": "insert",
        "stream": "shop",
        "pipeline": "shop",
        "outcome": "delivered",
    }
    assert found["committed"] == "2023-11-14T22:13:27Z"
    assert found["key"] == {"_id": {"$oid": f"{7:024x}"}}
    assert found["change"]["fullDocument"]["n"] == 7
    assert found["ended_at"] is None
    assert [(step["step"], step["result"], step["seconds"]) for step in found["steps"]] == [
        ("map", "passed", 0.25),
        ("only-vips", "passed", 0.25),
        ("http", "delivered", 0.25),
    ]
    assert found["steps"][0]["body"] == {"mapped": event.id}
    assert "body" not in found["steps"][1]


async def test_what_became_of_events_that_were_not_delivered() -> None:
    """Where they ended, why, and after how many attempts; steps that they bypassed are shown, too."""
    flow = Flow()
    first, second, third = make_events(3)
    with flow.tail.watch(EVERYTHING) as client:
        flow.give_up(first, stored=True)
        flow.give_up(second, stored=False)
        flow.drop(third)
        letter, skipped, dropped = await shown(client, 3)
    assert (letter["outcome"], letter["ended_at"], letter["attempts"]) == ("dead_letter", "http", 2)
    assert [step["result"] for step in letter["steps"]] == ["bypassed", "bypassed", "dead_letter"]
    assert letter["steps"][-1]["error"] == "422: no"
    assert skipped["outcome"] == "skipped"
    assert (dropped["outcome"], dropped["ended_at"], dropped["attempts"]) == ("dropped", "only-vips", 1)
    assert [step["result"] for step in dropped["steps"]] == ["passed", "dropped"]


async def test_an_event_that_was_retried_and_delivered() -> None:
    """Its step shows the number of attempts and no error."""
    flow = Flow()
    event = make_event()
    with flow.tail.watch(EVERYTHING) as client:
        flow.stream.read([event])
        flow.steps["http"].attempted([event], 0.1)
        flow.steps["http"].failed([event], Ambiguous("timeout"))
        flow.steps["http"].retried([event])
        flow.steps["http"].attempted([event], 0.2)
        flow.steps["http"].delivered([event])
        flow.pipeline.finished([event], delivered=True)
        (found,) = await shown(client)
    assert (found["outcome"], found["attempts"]) == ("delivered", 2)
    assert found["steps"][-1]["error"] is None


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (TailFilter(namespace="shop"), True),
        (TailFilter(namespace="shop.orders"), True),
        (TailFilter(namespace="sh*.ord*"), True),
        (TailFilter(namespace="shop.customers"), False),
        (TailFilter(operations=frozenset({"insert", "delete"})), True),
        (TailFilter(operations=frozenset({"delete"})), False),
        (TailFilter(ids=frozenset({make_event().id})), True),
        (TailFilter(ids=frozenset({make_event(1).id})), False),
        (TailFilter(outcomes=frozenset({"delivered"})), True),
        (TailFilter(outcomes=frozenset({"dropped", "skipped"})), False),
        (TailFilter(pipeline="shop"), True),
        (TailFilter(pipeline="crm"), False),
        (TailFilter(step="http"), True),
        (TailFilter(step="queue"), False),
    ],
)
async def test_filters(wanted: TailFilter, passes: bool) -> None:
    """Each selects by what it names. What a filter does not select is not counted as missed."""
    flow = Flow()
    with flow.tail.watch(wanted) as client:
        flow.deliver([make_event()])
        if passes:
            await shown(client)
        else:
            await nothing(client)
        assert client.missed == 0


async def test_the_rare_event_among_many() -> None:
    """A tail of events that were not delivered shows each, however many are delivered in between."""
    flow = Flow()
    with flow.tail.watch(TailFilter(outcomes=frozenset({"dead_letter", "dropped"}))) as client:
        flow.deliver(make_events(5000))
        flow.give_up(make_event(5001), stored=True)
        flow.deliver(make_events(5000, first=6000))
        flow.drop(make_event(20_000))
        found = await shown(client, 2)
        assert [each["outcome"] for each in found] == ["dead_letter", "dropped"]
        assert client.missed == 0


async def test_a_sample() -> None:
    """About the share that was asked for; all tails show the same events, and the others are counted."""
    flow = Flow()
    with flow.tail.watch(TailFilter(sample=0.5)) as client, flow.tail.watch(TailFilter(sample=0.5, bodies=True)) as two:
        events = make_events(80)
        flow.deliver(events)
        found = await shown(client, 80 - client.missed)
        assert 15 < len(found) < 65
        assert client.missed == two.missed
        assert [each["id"] for each in await shown(two, len(found))] == [each["id"] for each in found]


async def test_a_flood() -> None:
    """Only so many events a second are followed; the rest is counted, none is forgotten."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING) as client:
        for first in range(0, 20_000, 500):
            flow.deliver(make_events(500, first=first))
        found = await shown(client, 20_000 - client.missed)
        assert 0 < len(found) < 2 * PER_SECOND
        assert client.missed + len(found) == 20_000


async def test_a_limit() -> None:
    """The client ends after so many events, and the others are not missed."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING, limit=3) as client:
        flow.deliver(make_events(10))
        assert len(await shown(client, 3)) == 3
        assert client.ended
        assert client.missed == 0


async def test_a_large_body_is_cut() -> None:
    """And says so."""
    flow = Flow()
    event = make_event(fullDocument={"text": "x" * 1_000_000, "list": list(range(100_000))})
    event.change["fullDocument"] = {"text": "x" * 1_000_000, "list": list(range(100_000))}
    with flow.tail.watch(BODIES) as client:
        flow.deliver([event])
        (found,) = await shown(client)
    assert found["change_cut"] is True
    assert found["change"]["operationType"] == "insert"
    assert len(json.dumps(found)) < 2 * BODY_MAX


@pytest.mark.parametrize("odd", [object(), {1, 2}, {(1, 2): 3}, float("nan"), "\ud800", b"\xff", {3: 4}])
async def test_any_body(odd: Any) -> None:
    """A user's function may put anything into a body; the tail shows it as JSON all the same."""
    flow = Flow()
    event = make_event()
    with flow.tail.watch(BODIES) as client:
        flow.stream.read([event])
        event.body = {"odd": odd}
        flow.steps["map"].attempted([event], 0.1)
        flow.steps["map"].delivered([event])
        flow.pipeline.finished([event], delivered=True)
        (found,) = await shown(client)
    assert found["steps"][0]["step"] == "map"


async def test_existing_documents_are_shown_too() -> None:
    """With the backfill that asked for them."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING) as client:
        flow.deliver([make_read(backfill="bf_9")])
        (found,) = await shown(client)
    assert (found["operation"], found["backfill"]) == ("read", "bf_9")


async def test_hidden_documents() -> None:
    """With payloads off there are neither keys nor bodies."""
    flow = Flow()
    with flow.tail.watch(TailFilter(documents=False)) as client:
        flow.deliver([make_event()])
        (found,) = await shown(client)
    assert not {"key", "change"} & found.keys()
    assert not any("body" in step for step in found["steps"])


async def test_metrics_count_the_same_whether_somebody_watches_or_not() -> None:
    """A tail takes nothing away from what it wraps."""
    flow = Flow()
    flow.deliver(make_events(5))
    with flow.tail.watch(EVERYTHING):
        flow.deliver(make_events(5))
    flow.deliver(make_events(5))
    assert flow.metrics.changed == 15
    assert flow.metrics.read_from("shop") == 15


async def test_nobody_watches() -> None:
    """Then a call is a call of the metrics, without any check, and nothing is remembered."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING):
        flow.stream.read(make_events(10))
    inner = Metrics("1.0")
    tail = Tail(inner)
    step = tail.step("shop", "http")
    assert step.attempted.__func__ is inner.step("shop", "http").attempted.__func__  # type: ignore[attr-defined]
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each).__name__ == "EventPath"]


async def test_an_ended_tail() -> None:
    """Closing ends every client, and refuses new ones."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING) as client:
        flow.tail.close()
        await client.wait(5)
        assert client.ended
    with flow.tail.watch(EVERYTHING) as late:
        assert late.ended


def test_a_client_that_does_not_read() -> None:
    """Its queue is bounded in number and bytes, alone and together with others, and what it missed is counted."""
    total = Total(most=MOST_BYTES + 100_000)
    client, other = TailClient(total), TailClient(total)
    for _ in range(2 * MOST_EVENTS):
        client.put(b"x" * 100)
    assert client.missed == MOST_EVENTS
    client.take(10**9)
    assert total.bytes == 0
    for _ in range(100):
        client.put(b"x" * 100_000)
    assert 50 < client.missed - MOST_EVENTS < 100
    other.put(b"x" * 200_000)
    assert other.missed == 1
    client.discard()
    assert total.bytes == 0
    other.put(b"x" * 200_000)
    assert len(other.take(1)) == 1


async def test_events_that_never_finish() -> None:
    """A tail follows a bounded number of them, and goes on with new ones."""
    flow = Flow()
    with flow.tail.watch(EVERYTHING) as client:
        for first in range(100):
            flow.stream.read(make_events(10, first=10 * first, size=1024**2))
        await asyncio.sleep(0.3)
        event = make_event(5000, namespace=Namespace("shop", "late"))
        flow.deliver([event])
        assert [each["id"] for each in await shown(client)] == [event.id]
