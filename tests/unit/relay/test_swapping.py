"""Pipelines that are replaced while events flow, in virtual time: whatever the sinks do, nothing is lost, nothing that
was accepted is delivered again without need, and the order is kept."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from bson import Timestamp

from mess.capture.source import Batch
from mess.capture.tokens import position_after
from mess.config.model import Config, StepSpec
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown
from mess.event import Event, Position
from mess.relay.assembly import Assembly
from mess.relay.build import BuiltStep
from mess.relay.completion import Completions
from mess.relay.router import Claim, LaneGroups, ScopeRouter
from mess.relay.runner import StreamRunner, stream_runner
from mess.relay.stopping import Stopping
from mess.relay.swapping import Swap
from mess.relay.window import Window
from mess.steps.base import Sink, Transform
from mess.telemetry.metrics import Metrics
from mess.telemetry.observer import StreamObserver
from tests import clock
from tests.unit.fakes import Letters, make_event

EVENTS = 120
KEYS = 6
BEGIN = Timestamp(1, 1)
QUICK = {"retry": {"max_attempts": None}, "probe": {"refusing_after": None}}


class Marking(Transform):
    """Adds a mark to every body; which one shows which pipeline an event went through."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def apply(self, event: Event) -> Event:
        event.body = {**event.body, "marks": [*event.body.get("marks", []), self.mark]}
        return event


class Fickle(Sink):
    """A sink that takes its time, fails now and then, and writes down into `accepted` what it has taken in."""

    def __init__(self, random_: random.Random, accepted: list[Event], *, max_events: int, slowest: float) -> None:
        self.max_events = max_events
        self._random = random_
        self._accepted = accepted
        self._slowest = slowest

    async def deliver(self, events: Sequence[Event]) -> None:
        chance = self._random
        fails = chance.random() < 0.2
        taken = events if not fails else events[: chance.randrange(len(events) + 1)]
        await asyncio.sleep(chance.choice([0.0, 0.0, 0.01, 1.0]) * self._slowest)
        self._accepted += taken
        if len(taken) < len(events):
            kind: type[DeliveryError] = chance.choice([EndpointDown, Ambiguous])
            error = kind("not now")
            raise BatchError(dict.fromkeys(range(len(taken), len(events)), error))


class NoSource:
    """The batches come from the test."""

    name = "shop"
    position_after = staticmethod(position_after)


class Relay:
    """A stream whose pipeline marks events, and sends them to two sinks; each version of it has a number."""

    def __init__(self, chance: random.Random, *, slowest: float) -> None:
        self.chance = chance
        self.slowest = slowest
        self.accepted: tuple[list[Event], list[Event]] = ([], [])
        self.stopping = Stopping()
        self.letters = Letters()
        self.config = self.make_config()
        steps = {"top level": self.steps((0, 0, 0))}
        self.parts = Assembly(self.config, steps, self.letters, self.stopping, Metrics("test"))
        self.window = Window(40, 10**9, position_after)
        claim = Claim(lambda namespace: BEGIN, lambda namespace: BEGIN)

        def router(groups: LaneGroups) -> ScopeRouter:
            self.router = ScopeRouter(self.config, claim, BEGIN, self.parts.pipelines, groups)
            self.parts._routers.add(self.router)
            return self.router

        async def report(batch: Batch) -> Batch:
            return batch

        self.runner: StreamRunner = stream_runner(
            NoSource(),  # type: ignore[arg-type]
            self.window,
            completions=Completions(self.window, Metrics("test").pipeline),
            router=router,
            report=report,
            observer=StreamObserver(),
        )

    def make_config(self) -> Config:
        """A config with another number of lanes."""
        options = {"databases": {"*": {}}, "pipeline": ["log"], "concurrency": self.chance.choice([1, 2, 3, 8])}
        return Config.model_validate(options)

    def steps(self, versions: tuple[int, int, int]) -> list[BuiltStep]:
        """The steps of a version of the pipeline."""
        made: list[Any] = [Marking(f"mark {versions[0]}")]
        made += [
            Fickle(self.chance, accepted, max_events=self.chance.choice([1, 3, 500]), slowest=self.slowest)
            for accepted in self.accepted
        ]
        return [
            BuiltStep(f"step {n}", StepSpec.model_validate({"name": f"step {n}", **QUICK}), step, identity=str(version))
            for n, (step, version) in enumerate(zip(made, versions, strict=True))
        ]

    async def swap(self, versions: tuple[int, int, int], grace: float) -> int:
        """Replace the pipeline."""
        new = {"top level": self.parts.pipeline("top level", self.steps(versions))}
        self.config = self.make_config()
        swap = Swap(self.parts, new, ())
        swap.begin(self.config, [self.runner])
        late = await swap.drained(grace)
        swap.end([self.runner])
        return late

    async def feed(self, events: Sequence[Event]) -> None:
        """Dispatch events, in batches."""
        for start in range(0, len(events), 10):
            await self.runner._dispatcher.dispatch(Batch(events[start : start + 10], Position(None, None)))
            await asyncio.sleep(self.chance.choice([0.0, 0.1, 3.0]))


def in_order(events: Sequence[Event], *, repeats: bool) -> bool:
    """Whether the first arrivals of each key are in order; without `repeats`, each event arrives once."""
    seen: dict[Any, list[str]] = defaultdict(list)
    for event in events:
        assert event.key is not None
        ids = seen[event.key["_id"]]
        if event.id not in ids:
            ids.append(event.id)
        elif not repeats:
            return False
    return all(ids == sorted(ids, key=lambda each: number_of[each]) for ids in seen.values())


events = [make_event(number, key=number * 7 % KEYS) for number in range(EVENTS)]
number_of = {event.id: number for number, event in enumerate(events)}


async def run(seed: int, *, grace: float, first: bool) -> tuple[Relay, int]:
    """Events and reloads at random; `first` says whether the first step changes, too."""
    chance = random.Random(seed)
    relay = Relay(chance, slowest=chance.choice([0.1, 5.0]))
    mine = [make_event(number, key=number * 7 % KEYS) for number in range(EVENTS)]
    feeding = asyncio.create_task(relay.feed(mine))
    late = 0
    for version in range(1, 8):
        await asyncio.sleep(chance.choice([0.0, 0.05, 2.0, 10.0]))
        late += await relay.swap((version if first else 0, 0, version), grace)
    await feeding
    await relay.window.drained()
    assert relay.stopping.failure is None
    return relay, late


@pytest.mark.parametrize("seed", range(60))
def test_nothing_that_was_accepted_is_delivered_again(seed: int) -> None:
    """With time for deliveries in flight: each sink accepts each event once and in order, and no step is repeated."""
    relay, late = clock.run(run(seed, grace=1000.0, first=False))
    assert late == 0
    for accepted in relay.accepted:
        assert {event.id for event in accepted} == set(number_of)
        assert Counter(event.id for event in accepted).most_common(1)[0][1] == 1
        assert in_order(accepted, repeats=False)
        assert all(event.body["marks"] == ["mark 0"] for event in accepted)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_cancelled_is_repeated_in_order(seed: int) -> None:
    """Without any time for deliveries in flight."""
    relay, _ = clock.run(run(seed, grace=0.0, first=False))
    for accepted in relay.accepted:
        assert {event.id for event in accepted} == set(number_of)
        assert in_order(accepted, repeats=True)


@pytest.mark.parametrize("seed", range(60))
def test_events_begin_again_if_an_earlier_step_has_changed(seed: int) -> None:
    """Whatever a sink accepts has been through one version of the first step, exactly once."""
    relay, _ = clock.run(run(seed, grace=1000.0, first=True))
    for accepted in relay.accepted:
        assert {event.id for event in accepted} == set(number_of)
        assert in_order(accepted, repeats=True)
        assert all(len(event.body["marks"]) == 1 for event in accepted)
