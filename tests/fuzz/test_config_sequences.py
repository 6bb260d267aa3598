"""Random sequences of configs, stops and crashes against a model that knows only what users were promised:

delivered is every event that was committed after its namespace was first covered, once that namespace is watched again.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from bson import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mess.capture.arrangement import Begin, Reached, Recorded, StreamStart, arrange
from mess.capture.coverage import Coverage, Covered, Rule, bounded, from_json, lookup, to_json
from mess.capture.plan import StreamPlan, assignments, plan
from mess.config.model import Config
from mess.config.scope import resolve
from mess.event import Namespace, Position
from tests.fuzz.profiles import examples

DBS = ["a", "b", "ab", "c"]
COLLS = ["x", "y", "xy", "z"]
NAMESPACES = [Namespace(db, coll) for db in DBS for coll in COLLS]

options = st.sampled_from([{}, {}, {"full_document": "off"}, {"exclude": ["x"]}, {"operations": ["insert"]}])
collections = st.dictionaries(st.sampled_from([*COLLS, "*", "x*", "?", "*y"]), options, max_size=4)
databases = st.dictionaries(
    st.sampled_from([*DBS, "*", "a*", "?b", "?"]),
    collections.map(lambda found: {"collections": found}),
    min_size=1,
    max_size=4,
)


@dataclass
class World:
    """A MongoDB that commits an event of a random namespace at every tick, and what a relay made of it."""

    dice: random.Random
    now: int = 1
    committed: list[tuple[int, Namespace]] = field(default_factory=list)
    first_covered: dict[Namespace, int] = field(default_factory=dict)
    delivered: dict[Namespace, list[int]] = field(default_factory=dict)

    def commit(self, count: int) -> None:
        for _ in range(count):
            # Several events have one cluster time at times, as those of a transaction have.
            self.now += self.dice.choice([0, 1, 1, 1, 3])
            self.committed.append((self.now, self.dice.choice(NAMESPACES)))

    def read(self, start: StreamStart, claimed: Any, upto: int) -> int:
        """Deliver what a stream gives up to the event number `upto`; returns the number that it begins at."""
        token = start.position.token
        if token is not None:
            begin = int(token["_data"]) + 1
        else:
            assert start.position.time is not None
            begin = next(
                (n for n, (time, _) in enumerate(self.committed) if time >= start.position.time.time),
                len(self.committed),
            )
        for time, namespace in self.committed[begin:upto]:
            covered = claimed(namespace)
            if covered is not None and Timestamp(time, 1) >= covered:
                self.delivered.setdefault(namespace, []).append(time)
        return begin


def run(world: World, databases: dict[str, Any], stored: dict[str, Any], *, to_the_end: bool) -> dict[str, Any]:
    """One life of a relay: it starts from what is stored, reads for a while, and leaves what is stored behind."""
    config = Config.model_validate({"databases": databases, "pipeline": [{"name": "log"}]})
    for namespace in NAMESPACES:
        if resolve(config, *namespace) is not None:
            world.first_covered.setdefault(namespace, world.now + 1)
    world.now += 1
    record = Recorded(from_json(stored["coverage"]), stored["reached"])
    found = arrange(plan(config), assignments(config), record, Begin(Timestamp(world.now, 1)))
    streams: dict[str, StreamPlan] = {start.name: start.plan for start in found.starts}
    stored = {
        "coverage": json.loads(json.dumps(to_json(found.coverage))),
        "reached": {start.name: Reached(start.plan.hash, start.position) for start in found.starts},
    }
    world.commit(world.dice.randint(0, 15))
    coverage = found.coverage
    for start in found.starts:
        end = len(world.committed) if to_the_end else world.dice.randint(0, len(world.committed))
        begin = world.read(start, lambda namespace: claimed(coverage, start.name, namespace), end)  # noqa: B023
        kept = world.dice.randint(begin, max(begin, end))  # a crash loses what was delivered behind the checkpoint
        if kept > begin:
            time = Timestamp(world.committed[kept - 1][0], 1)
            stored["reached"][start.name] = Reached(streams[start.name].hash, Position({"_data": str(kept - 1)}, time))
    return stored


def claimed(coverage: tuple[Rule[Covered], ...], name: str, namespace: Namespace) -> Timestamp | None:
    covered = lookup(coverage, namespace)
    return covered.time if covered is not None and covered.stream == name else None


@examples(300)
@given(st.lists(databases, min_size=1, max_size=8), st.integers(0, 2**32))
def test_whatever_configs_follow_each_other_nothing_is_lost(configs: list[dict[str, Any]], seed: int) -> None:
    world = World(random.Random(seed))
    coarse = False

    def noted(coverage: Coverage, wanted: Any) -> Coverage:
        nonlocal coarse
        found = bounded(coverage, wanted)
        coarse = coarse or found is not coverage
        return found

    with patch("mess.capture.arrangement.bounded", noted):
        live(world, configs)
    for namespace in NAMESPACES:
        first = world.first_covered[namespace]
        wanted = {time for time, each in world.committed if each == namespace and time >= first}
        delivered = world.delivered.get(namespace, [])
        assert wanted <= set(delivered)
        assert coarse or all(time >= first for time in delivered), "nobody asked for it then"


def live(world: World, configs: list[dict[str, Any]]) -> None:
    """Several lives of a relay, each with a config, and one in which it watches all there is."""
    stored: dict[str, Any] = {"coverage": [], "reached": {}}
    world.commit(5)
    for each in configs:
        stored = run(world, each, stored, to_the_end=False)
        world.commit(world.dice.randint(0, 5))  # nobody is there
        names = len(DBS) + len(COLLS) + 10
        assert len(stored["coverage"]) <= 8 * names
    run(world, {"*": {}}, stored, to_the_end=True)
