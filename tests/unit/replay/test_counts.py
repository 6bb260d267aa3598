"""What a replay of the oplog has of its own: one step of a pipeline, and what became of the events."""

from __future__ import annotations

import pytest
from bson import Timestamp

from mess.config.model import StepSpec
from mess.errors import ConfigError
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


class Keeper(Letters):
    """Takes letters and gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[Gap] = []

    add_dead_letters = Letters.__call__

    async def record_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


async def test_what_became_of_the_events() -> None:
    """Each is delivered, dropped, dead-lettered or skipped."""
    keeper = Keeper()
    outcome = ReplayCounts(keeper)
    step, done = outcome.step("shop", "http"), outcome.finished("shop")
    outcome.events("shop")(10)
    step.delivered(5)
    done(make_events(5), True)
    step.dropped(1)
    done(make_events(1), False)
    await outcome.add_dead_letters([LETTER])
    step.dead_lettered(1)
    done(make_events(1), False)
    step.refused(1)
    done(make_events(1), False)
    assert (outcome.handled, outcome.delivered) == (8, 5)
    assert (outcome.dropped, outcome.kept, outcome.skipped) == (1, 1, 1)
    assert outcome.routed == {"shop": {ORDERS: 8}}
    assert keeper.kept == [LETTER]


async def test_what_is_only_counted_keeps_nothing() -> None:
    outcome = ReplayCounts()
    outcome.finished("shop")(make_events(2), True)
    outcome.finished("crm")(make_events(1, namespace=Namespace("crm", "people")), True)
    await outcome.add_dead_letters([LETTER])
    await outcome.record_gap(Gap("shop", Timestamp(1, 1), None, "lost", LETTER.time))
    assert outcome.kept == 0
    assert outcome.routed == {"shop": {ORDERS: 2}, "crm": {Namespace("crm", "people"): 1}}
