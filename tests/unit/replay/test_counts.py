"""What a replay of the oplog has of its own: one step of a pipeline, and what became of the events."""

from __future__ import annotations

import pytest
from bson import Timestamp

from mess.config.model import StepSpec
from mess.errors import ConfigError, Refused
from mess.event import Event, Namespace
from mess.relay.build import BuiltStep, Steps
from mess.replay.counts import ReplayCounts, only
from mess.state.store import Gap
from mess.steps.base import Transform
from tests.unit.fakes import ORDERS, Letters, Recorder, make_events
from tests.unit.state.test_letters import LETTER


class Pass(Transform):
    def apply(self, event: Event) -> Event:
        return event


def built(**pipelines: str) -> Steps:
    """Pipelines of steps by their names; those called http or queue are sinks."""
    return {
        pipeline: [
            BuiltStep(name, StepSpec(name=name), Recorder() if name.startswith(("http", "queue")) else Pass())
            for name in names.split(", ")
        ]
        for pipeline, names in pipelines.items()
    }


def names(steps: Steps) -> dict[str, list[str]]:
    return {pipeline: [step.name for step in entries] for pipeline, entries in steps.items()}


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("http", {"shop": ["field-map", "http"], "crm": ["http"]}),
        ("http 2", {"shop": ["field-map", "enrich", "http 2"]}),
        ("queue", {"crm": ["queue"]}),
        ("enrich", {"shop": ["field-map", "enrich"]}),
    ],
)
def test_one_step_and_what_it_needs(step: str, left: dict[str, list[str]]) -> None:
    """The transforms before it, no other sink, nothing behind it, and no pipeline without it."""
    steps = built(shop="field-map, http, enrich, http 2, log", crm="http, queue")
    assert names(only(steps, step)) == left


def test_a_step_that_no_pipeline_has() -> None:
    with pytest.raises(ConfigError, match=r"no pipeline has a step 'http 3'; there are: 'http', 'http 2', 'queue'$"):
        only(built(shop="http, http 2", crm="http, queue"), "http 3")


async def test_what_became_of_the_events() -> None:
    """Each is delivered, dropped, dead-lettered or skipped."""
    keeper = Letters()
    outcome = ReplayCounts(keeper)
    step, pipeline = outcome.step("shop", "http"), outcome.pipeline("shop")
    refused = Refused("no")
    outcome.stream("shop").read(make_events(10))
    step.delivered(make_events(5))
    pipeline.finished(make_events(5), delivered=True)
    step.dropped(1)
    pipeline.finished(make_events(1), delivered=False)
    await outcome.add_dead_letters([LETTER])
    step.given_up(make_events(1), refused, stored=True)
    pipeline.finished(make_events(1), delivered=False)
    step.given_up(make_events(1), refused, stored=False)
    pipeline.finished(make_events(1), delivered=False)
    assert (outcome.handled, outcome.delivered) == (8, 5)
    assert (outcome.dropped, outcome.kept, outcome.skipped) == (1, 1, 1)
    assert outcome.routed == {"shop": {ORDERS: 8}}
    assert keeper.kept == [LETTER]


async def test_what_is_only_counted_keeps_nothing() -> None:
    outcome = ReplayCounts()
    outcome.pipeline("shop").finished(make_events(2), delivered=True)
    people = make_events(1, namespace=Namespace("crm", "people"))
    outcome.pipeline("crm").finished(people, delivered=True)
    await outcome.add_dead_letters([LETTER])
    await outcome.record_gap(Gap("shop", Timestamp(1, 1), None, "lost", LETTER.time))
    assert outcome.kept == 0
    assert outcome.routed == {"shop": {ORDERS: 2}, "crm": {Namespace("crm", "people"): 1}}
